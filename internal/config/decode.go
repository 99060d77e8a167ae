package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// checker is a struct that can compare its keys with each other. It is called
// after decoding, with what could be decoded.
type checker interface{ check(at place) }

// place is a struct's place in the file.
type place struct {
	s    *source
	path string
}

// bad reports the key of the struct; once, and not if it was bad before.
func (p place) bad(key, expected, format string, args ...any) {
	p.s.failAt(join(p.path, key), expected, format, args...)
}

// broken says whether one of the keys could not be read.
func (p place) broken(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return p.s.bad[join(p.path, k)] })
}

// given says whether the file has the key.
func (p place) given(key string) bool { return p.s.at[join(p.path, key)] != nil }

// needs reports a key that is missing.
func (p place) needs(key string, missing bool, expected string) {
	if missing && !p.broken(key) {
		p.bad(key, expected, "missing key %q", join(p.path, key))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode fills the struct that into points to.
func decode(name string, src []byte, into any) error {
	s := newSource(name, src)
	body := s.parse(src)
	if len(s.errs) == 0 {
		s.structure("", body, reflect.ValueOf(into).Elem())
	}
	if len(s.errs) > 0 {
		return s.errs.sorted()
	}
	return nil
}

// field is one key of a struct.
type field struct {
	key   string
	value reflect.Value
	tag   reflect.StructTag
}

// fields lists the keys of v; embedded structs give theirs to the outer one.
func fields(v reflect.Value) []field {
	var fs []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			fs = append(fs, fields(v.Field(i))...)
			continue
		}
		if key := f.Tag.Get("yaml"); key != "" {
			fs = append(fs, field{key, v.Field(i), f.Tag})
		}
	}
	return fs
}

// structure decodes a mapping; n is nil when the file does not have it, which
// leaves the defaults.
func (s *source) structure(path string, n ast.Node, v reflect.Value) {
	fs := fields(v)
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.key
	}
	found := make(map[string]ast.Node, len(fs))
	pairs, ok := s.mapping(path, n)
	for _, pair := range pairs {
		key, pos := pair.Key.GetToken().Value, position(pair)
		switch {
		case pair.Key.Type() != ast.StringType:
			s.fail(position(pair), "a plain key", "this cannot be a key")
		case !slices.Contains(names, key):
			s.unknownKey(pos, key, names)
		case s.at[join(path, key)] != nil:
			s.fail(pos, "", "%q a second time; the first is on line %d", key, s.at[join(path, key)].Line)
		default:
			s.at[join(path, key)] = pos
			found[key] = pair.Value
		}
	}
	if !ok {
		return // not a mapping at all: its keys are not missing, too
	}
	for _, f := range fs {
		s.field(join(path, f.key), found[f.key], f)
	}
	if c, ok := v.Addr().Interface().(checker); ok {
		c.check(place{s, path})
	}
}

func (s *source) unknownKey(pos *token.Position, key string, names []string) {
	for _, with := range []string{key + "_file", key + "_env"} {
		if slices.Contains(names, with) {
			s.fail(pos, fmt.Sprintf("%s: NAME", with), "%q must not stand in this file", key)
			return
		}
	}
	sorted := slices.Sorted(slices.Values(names))
	expected := "one of: " + strings.Join(sorted, ", ")
	if near := suggest(key, sorted); near != "" {
		s.fail(pos, expected, "unknown key %q, did you mean %q?", key, near)
		return
	}
	s.fail(pos, expected, "unknown key %q", key)
}

// mapping returns the pairs of n. A key without a value is an empty mapping.
func (s *source) mapping(path string, n ast.Node) (pairs []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	s.wrongType(path, n, "a mapping (keys and values)")
	return nil, false
}

// wrongType reports what kind of thing n is instead of what was expected.
func (s *source) wrongType(path string, n ast.Node, expected string) {
	s.bad[path] = true
	what := "a " + strings.ToLower(n.Type().YAMLName())
	switch n := n.(type) {
	case *ast.AliasNode, *ast.AnchorNode:
		what = "anchors and aliases are not supported: write the value here; this"
	case *ast.TagNode:
		what = "tags are not supported; this"
	case *ast.NullNode:
		what = "no value"
	case *ast.MappingNode, *ast.MappingValueNode:
		what = "a mapping"
	case *ast.SequenceNode:
		what = "a list"
	case *ast.StringNode, *ast.LiteralNode:
		what = "text"
	case *ast.IntegerNode, *ast.FloatNode:
		what = fmt.Sprintf("the number %s", n.GetToken().Value)
	case *ast.BoolNode:
		what = n.GetToken().Value
	}
	s.fail(position(n), expected, "%s is not possible here", what)
}

// field decodes one key, or puts its default there.
func (s *source) field(path string, n ast.Node, f field) {
	switch {
	case f.value.Kind() == reflect.Struct && scalarOf(f.value.Type()) == nil:
		s.structure(path, n, f.value)
		return
	case n == nil && f.tag.Get("required") != "":
		s.failAt(path, described(f), "missing key %q", path)
		return
	case n == nil:
		setDefault(f)
		return
	}
	switch f.value.Kind() {
	case reflect.Slice:
		s.list(path, n, f)
	case reflect.Map:
		s.dictionary(path, n, f)
	default:
		s.scalar(path, n, f.value, f.tag)
	}
}

func described(f field) string {
	t := f.value.Type()
	if t.Kind() == reflect.Map {
		return "a mapping (names and their values)"
	}
	if t.Kind() == reflect.Slice {
		if sc := scalarOf(t.Elem()); sc != nil {
			return "a list, each " + sc.expected
		}
		return "a list"
	}
	return scalarOf(t).expected
}

// list decodes a sequence of scalars or structs.
func (s *source) list(path string, n ast.Node, f field) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		s.wrongType(path, n, described(f))
		return
	}
	if len(seq.Values) == 0 && f.tag.Get("required") != "" {
		s.fail(position(n), described(f), "%q is empty", path)
		return
	}
	out := reflect.MakeSlice(f.value.Type(), len(seq.Values), len(seq.Values))
	for i, e := range seq.Values {
		at := path + "[" + strconv.Itoa(i) + "]"
		s.at[at] = position(e)
		if e := out.Index(i); e.Kind() == reflect.Struct && scalarOf(e.Type()) == nil {
			s.structure(at, seq.Values[i], e)
			continue
		}
		s.scalar(at, e, out.Index(i), f.tag)
		s.bad[path] = s.bad[path] || s.bad[at]
	}
	f.value.Set(out)
}

// dictionary decodes a mapping whose keys are the reader's to choose.
func (s *source) dictionary(path string, n ast.Node, f field) {
	pairs, ok := s.mapping(path, n)
	if !ok {
		return
	}
	t := f.value.Type()
	names := scalarOf(t.Key())
	out := reflect.MakeMapWithSize(t, len(pairs))
	for _, pair := range pairs {
		text, pos := pair.Key.GetToken().Value, position(pair)
		at := join(path, text)
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		switch err := names.set(key, text); {
		case pair.Key.Type() != ast.StringType && pair.Key.Type() != ast.IntegerType:
			s.fail(pos, names.expected, "this cannot be a name")
			continue
		case err != nil:
			s.fail(pos, names.expected, "%q: %v", text, err)
			continue
		case s.at[at] != nil:
			s.fail(pos, "", "%q a second time; the first is on line %d", text, s.at[at].Line)
			continue
		}
		s.at[at] = pos
		s.field(at, pair.Value, field{key: text, value: value, tag: f.tag})
		s.bad[path] = s.bad[path] || s.bad[at]
		out.SetMapIndex(key, value)
	}
	f.value.Set(out)
}

// scalar decodes one value.
func (s *source) scalar(path string, n ast.Node, v reflect.Value, tag reflect.StructTag) {
	sc := scalarOf(v.Type())
	text, ok := "", false
	switch n := n.(type) {
	case *ast.StringNode:
		text, ok = n.Value, !sc.number
	case *ast.LiteralNode:
		text, ok = n.Value.Value, !sc.number
	case *ast.IntegerNode:
		text, ok = n.GetToken().Value, sc.number
	case *ast.BoolNode:
		text, ok = n.GetToken().Value, sc.boolean
	}
	if !ok {
		s.wrongType(path, n, sc.expected)
		return
	}
	if err := sc.set(v, text); err != nil {
		s.bad[path] = true
		s.fail(position(n), sc.expected, "%q: %v", text, err)
		return
	}
	if err := bounds(v, tag); err != nil {
		s.bad[path] = true
		s.fail(position(n), err.Error(), "%s is out of range", text)
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *File:
		*x = File(s.resolve(text))
	case *FilterRule:
		x.placed(s, position(n))
	}
}
