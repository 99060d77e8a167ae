package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Policy is a loaded file. It does not change; many goroutines may use it.
type Policy struct {
	version string
	lists   map[string]networks
	pools   map[string]*Pool
	filters map[string][]string // as NAS-Filter-Rule has them
	groups  map[string]int      // folded name → number
	rules   []rule
	tests   []test
}

// Option changes what Load demands.
type Option func(*options)

type options struct {
	groups []string
	tested bool
}

// Groups makes Load refuse groups that are not among the names.
func Groups(names []string) Option { return func(o *options) { o.groups = names } }

// Tested makes Load run the tests of the file; those that fail are mistakes.
func Tested() Option { return func(o *options) { o.tested = true } }

// Load reads a policy. name is for messages. The error holds every mistake and
// is of type Errors.
func Load(name string, src []byte, opts ...Option) (*Policy, error) {
	sum := sha256.Sum256(src)
	r := &reader{
		file:  name,
		lines: strings.Split(newlines.Replace(string(src)), "\n"),
		Policy: &Policy{
			version: hex.EncodeToString(sum[:8]),
			lists:   make(map[string]networks),
			pools:   make(map[string]*Pool),
			filters: make(map[string][]string),
			groups:  make(map[string]int),
		},
	}
	for _, o := range opts {
		o(&r.opts)
	}
	body := r.parse(src)
	if len(r.errs) == 0 {
		r.readFile(body)
	}
	if len(r.errs) == 0 && r.opts.tested {
		for _, result := range r.RunTests() {
			if result.Err != nil {
				result.Err.Text = r.lines[result.Err.Line-1]
				r.errs = append(r.errs, result.Err)
			}
		}
	}
	if len(r.errs) > 0 {
		return nil, r.errs.sorted()
	}
	return r.Policy, nil
}

// newlines are what YAML takes for the end of a line (YAML 1.2 §5.4).
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// readFile reads the sections: those that others refer to first, wherever they
// stand.
func (r *reader) readFile(body ast.Node) {
	const expected = "a policy: version, lists, pools, filters, rules, tests"
	if body == nil {
		r.fail(nil, expected, "an empty file")
		return
	}
	entries, clean := r.mapping(body, expected, "version", "lists", "pools", "filters", "rules", "tests")
	if e := find(entries, "version"); e == nil {
		if clean {
			r.fail(position(body), "version: 1", "no version")
		}
	} else if i, ok := e.val.(*ast.IntegerNode); !ok || i.GetToken().Value != "1" {
		r.fail(position(e.val), "version: 1", "not a version this program knows")
	}
	for _, section := range []struct {
		key  string
		read func(ast.Node)
	}{{"lists", r.readLists}, {"pools", r.readPools}, {"filters", r.readFilters}, {"rules", r.readRules}, {"tests", r.readTests}} {
		if e := find(entries, section.key); e != nil {
			section.read(e.val)
		} else if section.key == "rules" && clean {
			r.fail(position(body), "rules: a list of rules", "no rules")
		}
	}
	for i := range r.rules {
		r.rules[i].decision.Version = r.version
	}
}

// oneOf lists what may be named.
func (r *reader) oneOf(kind string, names []string) string {
	if len(names) == 0 {
		return "a name from " + kind + ", which has none"
	}
	return "one of: " + strings.Join(names, ", ")
}

// Version is the hash of the file's content, 16 hexadecimal digits.
func (p *Policy) Version() string { return p.version }

// Pool returns the pool of that name, or nil.
func (p *Policy) Pool(name string) *Pool { return p.pools[name] }

// Pools returns all pools by name. The map must not be written to.
func (p *Policy) Pools() map[string]*Pool { return p.pools }
