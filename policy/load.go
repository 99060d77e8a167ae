package policy

import (
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Policy is what was loaded. It does not change; many goroutines may use it.
type Policy struct {
	files   []File // that it was made of
	version string
	lists   map[string]*namedList
	pools   map[string]*Pool
	filters map[string][]string // as NAS-Filter-Rule has them
	groups  map[string]int      // folded name → number
	zones   []*time.Location
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

// Load reads a policy of one file. name is for messages. The error holds every mistake and
// is of type Errors.
func Load(name string, src []byte, opts ...Option) (*Policy, error) {
	return LoadFiles([]File{{name, src}}, opts...)
}

// newReader begins with the first of the files.
func newReader(o options, sources ...*source) *reader {
	r := &reader{
		sources: sources,
		opts:    o,
		defined: make(map[string]place),
		Policy: &Policy{
			lists:   make(map[string]*namedList),
			pools:   make(map[string]*Pool),
			filters: make(map[string][]string),
			groups:  make(map[string]int),
		},
	}
	r.enter(sources[0])
	return r
}

// source is a file while it is read.
type source struct {
	name    string
	text    []byte
	lines   []string
	body    ast.Node
	entries []entry
}

func newSource(f File) *source {
	return &source{name: f.Name, text: f.Text, lines: strings.Split(newlines.Replace(string(f.Text)), "\n")}
}

// newlines are what YAML takes for the end of a line (YAML 1.2 §5.4).
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// enter makes s the file that is read, and that mistakes are in.
func (r *reader) enter(s *source) { r.file, r.lines = s.name, s.lines }

// readFiles reads the sections of all files: those that others refer to first, wherever
// they stand.
func (r *reader) readFiles() {
	const (
		expected         = "a policy: version, include, lists, pools, filters, rules, tests"
		expectedIncluded = "an included file: version, lists, pools, filters"
	)
	for i, s := range r.sources {
		r.enter(s)
		if i > 0 {
			r.readTop(s, expectedIncluded, "version", "lists", "pools", "filters")
			continue
		}
		clean := r.readTop(s, expected, "version", "include", "lists", "pools", "filters", "rules", "tests")
		if clean && find(s.entries, "version") == nil {
			r.fail(position(s.body), "version: 1", "no version")
		}
		if clean && find(s.entries, "rules") == nil {
			r.fail(position(s.body), "rules: a list of rules", "no rules")
		}
	}
	for _, section := range []struct {
		key  string
		kind string // of what it defines
		read func(ast.Node)
	}{{"lists", "list", r.readLists}, {"pools", "pool", r.readPools}, {"filters", "filter", r.readFilters}, {"rules", "", r.readRules}, {"tests", "", r.readTests}} {
		for _, s := range r.sources {
			if e := find(s.entries, section.key); e != nil {
				r.enter(s)
				section.read(r.define(section.kind, e.val))
			}
		}
	}
	r.enter(r.sources[0])
	for i := range r.rules {
		r.rules[i].decision.Version, r.rules[i].failed.Version = r.version, r.version
	}
	r.numberOutcomes()
}

// readTop reads the keys of a file. clean means that none is missing for being misspelt.
func (r *reader) readTop(s *source, expected string, known ...string) (clean bool) {
	if s.body == nil {
		r.fail(nil, expected, "an empty file")
		return false
	}
	s.entries, clean = r.mapping(s.body, expected, known...)
	if e := find(s.entries, "version"); e != nil {
		if i, ok := e.val.(*ast.IntegerNode); !ok || i.GetToken().Value != "1" {
			r.fail(position(e.val), "version: 1", "not a version this program knows")
		}
	}
	return clean
}

// place is where something is written.
type place struct {
	file string
	pos  *token.Position
}

// define notes where the lists, pools and filters of a section are defined, and returns
// the section without those that another file has already. A second one in the same file
// is for mapping to say.
func (r *reader) define(kind string, n ast.Node) ast.Node {
	pairs := pairsOf(n)
	if kind == "" || len(pairs) == 0 {
		return n
	}
	kept := make([]*ast.MappingValueNode, 0, len(pairs))
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		at, known := r.defined[kind+" "+name]
		if known && at.file != r.file {
			r.fail(position(p), "a name of its own for each "+kind+" of all files", "%s %q a second time; the first is at %s:%d", kind, name, at.file, at.pos.Line)
			continue
		}
		if !known {
			r.defined[kind+" "+name] = place{r.file, position(p)}
		}
		kept = append(kept, p)
	}
	if m, ok := n.(*ast.MappingNode); ok {
		rest := *m
		rest.Values = kept
		return &rest
	}
	if len(kept) == 0 {
		return &ast.MappingNode{BaseNode: &ast.BaseNode{}, Start: n.GetToken()}
	}
	return n
}

// sorted are the mistakes in the order of the files and of their places.
func (r *reader) sorted() Errors {
	order := make(map[string]int, len(r.sources))
	for i, s := range r.sources {
		order[s.name] = i
	}
	sort.SliceStable(r.errs, func(i, j int) bool {
		a, b := r.errs[i], r.errs[j]
		if a.File != b.File {
			return order[a.File] < order[b.File]
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return r.errs
}

// oneOf lists what may be named.
func (r *reader) oneOf(kind string, names []string) string {
	if len(names) == 0 {
		return "a name from " + kind + ", which has none"
	}
	return "one of: " + strings.Join(names, ", ")
}

// Version is the hash of the files' content, 16 hexadecimal digits.
func (p *Policy) Version() string { return p.version }

// Pool returns the pool of that name, or nil.
func (p *Policy) Pool(name string) *Pool { return p.pools[name] }

// Pools returns all pools by name. The map must not be written to.
func (p *Policy) Pools() map[string]*Pool { return p.pools }
