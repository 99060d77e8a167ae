package housekeeping

import (
	"slices"
	"strings"
	"testing"
)

// The import arrows. A row holds for the packages its pattern names ("x/..." is x
// and all below it), the first row that fits counts, and a package may import of
// ours only what its row lists. A package that fits no row fails: a new place in
// the tree is a decision, and is taken here.
//
// The point of it: a node that cannot import a store or a policy cannot keep state
// or hold a secret, and a layer that does not know its neighbour can be tested
// without it.
const arrows = `
# A node, the service, the operator's tool: flags, config, build, run, wait. What
# they share is below cmd/internal; a node never sees cmd/internal/service.
cmd/postern-gateway     cmd/internal/node cmd/internal/daemon pptp/... internal/...
cmd/postern-radiusd     cmd/internal/service cmd/internal/daemon radiusd/... authz/... policy/... internal/...
cmd/postern             cmd/postern/... cmd/internal/... pptp/... radiusd/... authz/... policy/... internal/...
cmd/postern/...         cmd/postern/... cmd/internal/... pptp/... radiusd/... authz/... policy/... internal/...
cmd/postern-agent       cmd/postern-agent/... internal/report
cmd/postern-agent/...   internal/report
cmd/internal/node       cmd/internal/peers pptp/... internal/...
cmd/internal/service    cmd/internal/peers radiusd/... authz/... policy/... internal/...
cmd/internal/lab        cmd/internal/... pptp/... radiusd/... authz/... policy/... internal/...
cmd/internal/swarm      pptp/... internal/...
cmd/internal/cmdtest    cmd/internal/pki internal/...
cmd/internal/...        internal/...

# The node. The session joins the layers; the layers do not know one another.
# The dialling client joins the same layers from the other side.
pptp/client/...         pptp/control pptp/gre pptp/ppp pptp/chap pptp/eap pptp/mppe pptp/tun internal/mschap internal/obs internal/simnet
pptp/control/...        -
pptp/gre/gretest        pptp/gre internal/simnet
pptp/gre/...            -
pptp/ppp/...            -
pptp/chap/...           internal/mschap
pptp/eap/...            internal/mschap
pptp/mppe/...           internal/mschap
pptp/tun/...            -
pptp/filter/...         internal/obs
pptp/captive/...        -
pptp                    pptp/control pptp/gre pptp/ppp pptp/chap pptp/eap pptp/mppe pptp/tun pptp/filter pptp/captive internal/mschap internal/radius internal/obs internal/spool internal/config

# The service.
radiusd/...             radiusd/... authz/... policy/... internal/...
authz                   authz/... policy/... internal/...
authz/...               authz/... policy/... internal/...
policy/...              policy/...

# What all may use. The simulated link speaks the node's packet interfaces.
internal/simnet/...     pptp/gre pptp/tun internal/...
internal/...            internal/...

# The images' builder. It makes no use of ours.
deploy/compose/filecap  -
integration/...         integration/... internal/mschap internal/radius
`

// links lists what a binary must not contain, by any road.
var links = []struct {
	binary string
	banned []string
}{
	{"cmd/postern-gateway", []string{ // a captured node must have nothing to give away
		"postern/authz", "postern/policy", "postern/radiusd", "postern/internal/store",
		"github.com/redis/go-redis", "github.com/go-ldap/ldap", "github.com/pquerna/otp", "go.etcd.io/bbolt",
	}},
	{"cmd/postern-agent", []string{ // everybody's computer runs it
		"postern/authz", "postern/policy", "postern/radiusd", "postern/pptp", "postern/internal/store",
		"github.com/redis/go-redis", "github.com/go-ldap/ldap", "cel.dev/cel-go", "github.com/spf13/cobra",
	}},
	{"cmd/postern-radiusd", []string{ // the service terminates no tunnel and opens no device
		"postern/pptp", "github.com/songgao/water",
	}},
}

type arrow struct {
	from string
	to   []string
}

func parseArrows(t *testing.T, table string) []arrow {
	t.Helper()
	var rows []arrow
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if len(words) < 2 {
			t.Fatalf("arrow without a target: %q", line)
		}
		to := words[1:]
		if to[0] == "-" {
			to = nil
		}
		rows = append(rows, arrow{words[0], to})
	}
	return rows
}

func fits(pattern, path string) bool {
	stem, deep := strings.CutSuffix(pattern, "/...")
	return path == stem || deep && strings.HasPrefix(path, stem+"/")
}

// broken says what is wrong with path's imports, in words for a test's message.
func broken(rows []arrow, path string, imports []string) []string {
	i := slices.IndexFunc(rows, func(r arrow) bool { return fits(r.from, path) })
	if i < 0 {
		return []string{path + " has no row in the table of arrows"}
	}
	var wrong []string
	for _, imported := range imports {
		to := relative(imported)
		// A package's own insides (testdata generators and the like) are its own affair.
		if !ours(imported) || strings.HasPrefix(to, path+"/internal/") {
			continue
		}
		if !slices.ContainsFunc(rows[i].to, func(p string) bool { return fits(p, to) }) {
			wrong = append(wrong, path+" may not import "+to)
		}
	}
	return wrong
}

func TestImportArrows(t *testing.T) {
	rows := parseArrows(t, arrows)
	for _, p := range packages(t) {
		for _, w := range broken(rows, p.path(), p.Imports) {
			t.Error(w)
		}
	}
}

func TestArrowsCanFail(t *testing.T) {
	rows := parseArrows(t, arrows)
	for _, c := range []struct {
		path, imported string
		ok             bool
	}{
		{"pptp/gre", "postern/pptp/ppp", false},
		{"pptp/gre", "golang.org/x/net/ipv4", true},
		{"pptp", "postern/pptp/gre", true},
		{"pptp", "postern/authz", false},
		{"pptp", "postern/internal/store", false},
		{"policy", "postern/internal/config", false},
		{"internal/radius", "postern/authz", false},
		{"authz/lockout", "postern/internal/store", true},
		{"cmd/postern-gateway", "postern/radiusd", false},
		{"cmd/postern-gateway", "postern/cmd/internal/service", false},
		{"cmd/internal/node", "postern/authz", false},
		{"cmd/internal/pki", "postern/pptp", false},
		{"cmd/postern", "postern/radiusd", true},
		{"util", "fmt", false},
	} {
		if got := len(broken(rows, c.path, []string{c.imported})) == 0; got != c.ok {
			t.Errorf("%s importing %s: allowed %v, want %v", c.path, c.imported, got, c.ok)
		}
	}
}

func TestLinkedPackages(t *testing.T) {
	present := packages(t)
	for _, l := range links {
		if !slices.ContainsFunc(present, func(p *goPackage) bool { return p.path() == l.binary }) {
			t.Logf("%s is not in the tree", l.binary)
			continue
		}
		for dep := range strings.FieldsSeq(string(output(t, root(t), "go", "list", "-deps", "./"+l.binary))) {
			for _, b := range l.banned {
				if dep == b || strings.HasPrefix(dep, b+"/") {
					t.Errorf("%s links %s", l.binary, dep)
				}
			}
		}
	}
}
