package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file, ours: far above any real one; the YAML parser's work grows
// with the square of both.
const (
	maxSize  = 1 << 20
	maxDepth = 32
)

// reader reads the files of a policy and collects their mistakes.
type reader struct {
	sources []*source
	file    string // of the source that is read
	lines   []string
	errs    Errors
	opts    options
	defined map[string]place // lists, pools and filters: kind and name
	*Policy
	groupNames []string // as first written, by number
	ruleReader
	later []func() // what is read before the rules, when all lists are known
}

// fail records a mistake at pos; nil is the beginning of the file.
func (r *reader) fail(pos *token.Position, expected, format string, args ...any) {
	e := &Error{File: r.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...), Expected: expected}
	if pos != nil {
		e.Line, e.Column = max(pos.Line, 1), max(pos.Column, 1)
	}
	// The parser places some mistakes behind the end of the file.
	e.Line = min(e.Line, len(r.lines))
	e.Text = r.lines[e.Line-1]
	r.errs = append(r.errs, e)
}

// parse returns the document's mapping, nil for an empty file.
func (r *reader) parse(src []byte) (body ast.Node) {
	if len(src) > maxSize {
		r.fail(nil, "", "file of %d octets, more than %d", len(src), maxSize)
		return nil
	}
	if pos := notText(src); pos != nil {
		r.fail(pos, "text in UTF-8", "this is no character")
		return nil
	}
	if pos := tooDeep(src); pos != nil {
		r.fail(pos, "", "brackets nested more than %d deep", maxDepth)
		return nil
	}
	defer func() {
		// The parser is somebody else's; a file must not be able to end us.
		if p := recover(); p != nil {
			r.fail(nil, "", "not YAML: the parser gave up (%v)", p)
			body = nil
		}
	}()
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			r.fail(y.GetToken().Position, "", "not YAML: %s", y.GetMessage())
		} else {
			r.fail(nil, "", "not YAML: %v", err)
		}
		return nil
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case doc.Body.Type() == ast.DirectiveType:
			r.fail(position(doc.Body), "", "YAML directives are not supported")
		case body != nil:
			r.fail(position(doc.Body), "one document", "a second document")
		default:
			body = doc.Body
		}
	}
	return body
}

// notText finds the first octet that belongs to no character.
func notText(src []byte) *token.Position {
	line, column := 1, 0
	for i := 0; i < len(src); {
		c, n := utf8.DecodeRune(src[i:])
		column++
		switch {
		case c == utf8.RuneError && n == 1:
			return &token.Position{Line: line, Column: column}
		case c == '\n', c == '\r' && !(i+1 < len(src) && src[i+1] == '\n'):
			line, column = line+1, 0
		}
		i += n
	}
	return nil
}

// tooDeep finds the bracket that is nested deeper than maxDepth; one in a
// string or comment counts too, which no real file will notice.
func tooDeep(src []byte) *token.Position {
	line, column, depth := 1, 0, 0
	for _, c := range string(src) {
		column++
		switch c {
		case '\n':
			line, column = line+1, 0
		case '[', '{':
			if depth++; depth > maxDepth {
				return &token.Position{Line: line, Column: column}
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return nil
}

// position is where a node begins. A block mapping's own token is the colon of
// its first key.
func position(n ast.Node) *token.Position {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	}
	if t := n.GetToken(); t != nil {
		return t.Position
	}
	return nil
}

// entry is one key of a mapping with its value.
type entry struct {
	key string
	pos *token.Position
	val ast.Node
}

// mapping reads keys and values. With known keys it reports the others; a key
// that comes twice counts once. clean means that nothing was wrong with the keys:
// otherwise a missing one is likely to be there, misspelt.
func (r *reader) mapping(n ast.Node, what string, known ...string) (entries []entry, clean bool) {
	before := len(r.errs)
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		r.wrongType(n, what)
		return nil, false
	}
	seen := make(map[string]int)
	for _, p := range pairs {
		e := entry{p.Key.GetToken().Value, position(p), p.Value}
		first, twice := seen[e.key]
		switch {
		case p.Key.Type() != ast.StringType:
			r.fail(e.pos, "a plain key", "this cannot be a key")
		case known != nil && !slices.Contains(known, e.key):
			names := slices.Sorted(slices.Values(known))
			r.fail(e.pos, "one of: "+strings.Join(names, ", "), "unknown key %q%s", e.key, didYouMean(e.key, names))
		case twice:
			r.fail(e.pos, "", "%q a second time; the first is on line %d", e.key, first)
		default:
			seen[e.key] = e.pos.Line
			entries = append(entries, e)
		}
	}
	return entries, len(r.errs) == before
}

func find(entries []entry, key string) *entry {
	for i := range entries {
		if entries[i].key == key {
			return &entries[i]
		}
	}
	return nil
}

// sequence reads a list.
func (r *reader) sequence(n ast.Node, what string) ([]ast.Node, bool) {
	if seq, ok := n.(*ast.SequenceNode); ok {
		return seq.Values, true
	}
	r.wrongType(n, what)
	return nil, false
}

// values reads one value or a list of at least one.
func (r *reader) values(n ast.Node, what string) []ast.Node {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return []ast.Node{n}
	}
	if len(seq.Values) == 0 {
		r.fail(position(n), what+", or a list of such", "an empty list matches nothing")
	}
	return seq.Values
}

// text reads a string that is not empty.
func (r *reader) text(n ast.Node, what string) (string, bool) {
	var s string
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.LiteralNode:
		s = n.Value.Value
	default:
		r.wrongType(n, what)
		return "", false
	}
	if s == "" {
		r.fail(position(n), what, "empty text")
		return "", false
	}
	return s, true
}

// name reads a name to compare with facts.
func (r *reader) name(n ast.Node, what string) (string, bool) {
	s, ok := r.text(n, what)
	if ok && len(appendFold(nil, s)) > maxName {
		r.fail(position(n), fmt.Sprintf("at most %d octets", maxName), "a name of %d octets", len(s))
		return "", false
	}
	return s, ok
}

// wrongType reports what kind of thing n is instead of what was expected.
func (r *reader) wrongType(n ast.Node, expected string) {
	what := "this"
	switch n := n.(type) {
	case nil, *ast.NullNode:
		what = "no value"
	case *ast.AliasNode, *ast.AnchorNode:
		what = "anchors and aliases are not supported: write the value here; this"
	case *ast.TagNode:
		what = "tags are not supported; this"
	case *ast.MappingNode:
		what = "a mapping"
		if len(n.Values) == 1 && addressSplit(n.Values[0]) {
			what = "an IPv6 address inside braces needs quotes; a mapping"
		}
	case *ast.MappingValueNode:
		what = "a mapping"
	case *ast.SequenceNode:
		what = "a list"
	case *ast.StringNode, *ast.LiteralNode:
		what = "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		what = "the number " + n.GetToken().Value
	case *ast.BoolNode:
		what = n.GetToken().Value
	}
	r.fail(position(n), expected, "%s is not possible here", what)
}

// addressSplit recognises an IPv6 address, which YAML takes for key and value
// inside braces.
func addressSplit(v *ast.MappingValueNode) bool {
	key, value := v.Key.GetToken().Value, v.Value.GetToken()
	return value != nil && strings.Contains(value.Value, ":") && key != "" && len(key) <= 4 &&
		strings.Trim(key, "0123456789abcdefABCDEF") == ""
}
