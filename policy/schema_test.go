package policy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the schema, ready to validate; it is valid itself.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("policy.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain is a value as editors hand it to validators. ok is false for what JSON has not:
// a key twice, anchors, tags.
func plain(t *testing.T, n ast.Node) (v any, ok bool) {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil, true
	case *ast.SequenceNode:
		list := []any{}
		for _, el := range n.Values {
			v, ok := plain(t, el)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	case *ast.MappingNode, *ast.MappingValueNode:
		o := map[string]any{}
		for _, p := range pairsOf(n) {
			key := p.Key.GetToken().Value
			_, twice := o[key]
			v, ok := plain(t, p.Value)
			if !ok || twice || p.Key.Type() != ast.StringType {
				return nil, false
			}
			o[key] = v
		}
		return o, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		text := strings.TrimLeft(n.GetToken().Value, "+")
		return json.Number(text), json.Valid([]byte(text))
	}
	s, ok := textOf(n)
	return s, ok
}

// instance is a file as a validator sees it.
func instance(t *testing.T, src []byte) (any, bool) {
	r := newReader(options{}, newSource(File{"p.yaml", src}))
	body := r.parse(src)
	if len(r.errs) > 0 {
		return nil, false
	}
	return plain(t, body)
}

// TestSchemaTakesWhatLoads: our examples, the sample that has everything, and what the
// linter and the formatter are shown, as far as it loads.
func TestSchemaTakesWhatLoads(t *testing.T) {
	s := compiled(t)
	files := map[string][]byte{"sample": []byte(sample)}
	names, _ := filepath.Glob(filepath.Join("..", "deploy", "polic*", "*.yaml"))
	for _, name := range append(names, filepath.Join("..", "deploy", "policy.example.yaml")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	for _, f := range bundle {
		files[f.Name] = f.Text
	}
	for _, c := range lintConditions {
		src := "version: 1\nrules: [{id: a, when: {" + c + "}, then: deny}]\n"
		if _, err := Load("p.yaml", []byte(src)); err != nil {
			t.Fatal(err)
		}
		files[c] = []byte(src)
	}
	for _, golden := range []string{"lint.txt", "format.txt"} {
		b, err := os.ReadFile(filepath.Join("testdata", golden))
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(b), "\n== ")[1:] {
			name, text, _ := strings.Cut(block, "\n")
			src, _, _ := strings.Cut(text, "\n--\n")
			if _, err := Load("p.yaml", []byte(src)); err == nil {
				files[golden+": "+name] = []byte(src)
			}
		}
	}
	if len(names) < 10 || len(files) < 80 {
		t.Errorf("%d shipped policies among %d files", len(names), len(files))
	}
	for name, src := range files {
		v, ok := instance(t, src)
		if !ok {
			t.Errorf("%s is not JSON", name)
			continue
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// TestSchemaRefusesWhatIsBroken: of the broken files those pass that the schema cannot
// know to be broken; testdata/schema-passes.txt has their names.
func TestSchemaRefusesWhatIsBroken(t *testing.T) {
	s := compiled(t)
	_, cases := readBroken(t)
	var pass []string
	refused := 0
	for _, c := range cases {
		v, ok := instance(t, []byte(c.src))
		switch {
		case !ok: // not even JSON
		case s.Validate(v) == nil:
			pass = append(pass, c.name)
		default:
			refused++
		}
	}
	name := filepath.Join("testdata", "schema-passes.txt")
	got := strings.Join(pass, "\n") + "\n"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("these pass:\n%s", got)
	}
	if refused < 50 {
		t.Errorf("only %d are refused", refused)
	}
	t.Logf("%d refused, %d pass", refused, len(pass))
}

// TestSchemaKnowsTheLanguage: every key of the tables is described, and no other.
func TestSchemaKnowsTheLanguage(t *testing.T) {
	sorted := func(keys []string) []string { slices.Sort(keys); return keys }
	keysOf := func(m map[string]object) (keys []string) {
		for k := range m {
			keys = append(keys, k)
		}
		return sorted(keys)
	}
	if got, want := keysOf(obligationValues()), sorted(obligationKeys()); !slices.Equal(got, want) {
		t.Errorf("obligations %v, want %v", got, want)
	}
	var facts []string
	for _, f := range testFacts {
		facts = append(facts, f.key)
	}
	if got, want := keysOf(factValues()), sorted(facts); !slices.Equal(got, want) {
		t.Errorf("facts %v, want %v", got, want)
	}
	device := []string{"known", "confidence"}
	for _, f := range testDeviceFacts {
		device = append(device, f.key)
	}
	var described []string
	for k := range factValues()["device"]["properties"].(object) {
		described = append(described, k)
	}
	if got, want := sorted(described), sorted(device); !slices.Equal(got, want) {
		t.Errorf("device %v, want %v", got, want)
	}
	var rule []string
	for k := range ruleSchema()["properties"].(object) {
		rule = append(rule, k)
	}
	if got, want := sorted(rule), sorted(slices.Clone(ruleKeys)); !slices.Equal(got, want) {
		t.Errorf("rule %v, want %v", got, want)
	}
	if !bytes.Equal(Schema(), Schema()) {
		t.Error("the schema is another each time")
	}
	for _, c := range conditions {
		if c.doc == "" || c.values.say == "" || !strings.HasSuffix(c.doc, ".") {
			t.Errorf("condition %s is not described", c.key)
		}
	}
}
