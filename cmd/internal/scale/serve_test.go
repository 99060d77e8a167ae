package scale

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/cmd/internal/cmdtest"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, "postern", "postern-radiusd")) }

// policyText has a pool large enough for logins that nobody reports: each holds its
// address for a minute.
const policyText = `version: 1
pools:
  all: [10.64.0.0/10]
rules:
  - id: load
    when: {group: Load}
    then:
      permit: {factor: none, pool: all}
`

// site is services on one store, and the users of a load.
type site struct {
	dir      string
	services []*cmdtest.Process
	where    []string // flags of `postern swarm radius`
}

// newSite starts so many services. The store's lines are of their configuration.
func newSite(t *testing.T, services, users int, urls []string) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	s.write(t, "policy.yaml", policyText)
	s.write(t, "secret", "shared-by-test\n")
	var auth, acct []string
	for i := range services {
		name := fmt.Sprintf("service%d", i+1)
		health := cmdtest.FreeTCP(t)
		auth, acct = append(auth, cmdtest.FreeUDP(t)), append(acct, cmdtest.FreeUDP(t))
		s.write(t, name+".yaml", fmt.Sprintf(`node: %s
radius: {auth_listen: %q, acct_listen: %q}
clients: [{name: load, networks: [127.0.0.0/8], secret_file: secret}]
store: {kind: redis, urls: ["%s"]}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
audit: {file: %[1]s.audit}
metrics: {listen: %[5]q}
session: {interim: 60s}
follow: {interval: 0s}
log: {level: warn}
`, name, auth[i], acct[i], strings.Join(urls, `", "`), health))
		if i == 0 {
			cmdtest.Must(t, "", "postern", "--config", s.path(name+".yaml"), "keyring", "create")
			cmdtest.Must(t, "", "postern", "--config", s.path(name+".yaml"), "swarm", "users", s.path("load.csv"), "-n", fmt.Sprint(users), "-g", "Load")
		}
		s.start(t, name, health)
	}
	s.where = []string{"--server", strings.Join(auth, ","), "--acct", strings.Join(acct, ","), "--secret-file", s.path("secret"), "--users", s.path("load.csv")}
	return s
}

// start starts a service and waits until it listens.
func (s *site) start(t *testing.T, name, health string) {
	t.Helper()
	s.services = append(s.services, cmdtest.Start(t, "postern-radiusd", "-config", s.path(name+".yaml")))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", health); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen", name)
		}
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
