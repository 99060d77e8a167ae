package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

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

// source is a file being read and the mistakes found in it so far.
type source struct {
	name  string
	lines []string
	errs  Errors
	// at holds where each key or element was found, by its path.
	at map[string]*token.Position
	// bad marks paths that have a mistake already, so that a check of several
	// keys does not report its consequence.
	bad map[string]bool
}

func newSource(name string, src []byte) *source {
	return &source{
		name:  name,
		lines: strings.Split(newlines.Replace(string(src)), "\n"),
		at:    make(map[string]*token.Position),
		bad:   make(map[string]bool),
	}
}

// newlines are what YAML takes for the end of a line (YAML 1.2 §5.4).
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// fail records a mistake at pos; nil is the beginning of the file.
func (s *source) fail(pos *token.Position, expected, format string, args ...any) {
	s.errs = append(s.errs, s.errorAt(pos, expected, fmt.Sprintf(format, args...)))
}

// errorAt is a mistake at pos.
func (s *source) errorAt(pos *token.Position, expected, message string) *Error {
	e := &Error{File: s.name, Line: 1, Column: 1, Message: message, Expected: expected}
	if pos != nil {
		e.Line, e.Column = max(pos.Line, 1), max(pos.Column, 1)
	}
	// The parser places some mistakes behind the end of the file.
	e.Line = min(e.Line, len(s.lines))
	e.Text = redact(s.lines[e.Line-1])
	return e
}

// place is where path stands in the file, or the nearest thing around it.
func (s *source) place(path string) *token.Position {
	for {
		if pos := s.at[path]; pos != nil {
			return pos
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return nil
		}
		path = path[:i]
	}
}

// failAt records a mistake of the key at path once.
func (s *source) failAt(path, expected, format string, args ...any) {
	if s.bad[path] {
		return
	}
	s.bad[path] = true
	s.fail(s.place(path), expected, format, args...)
}

// parse returns the document's mapping, nil for an empty file.
func (s *source) parse(src []byte) (body ast.Node) {
	if len(src) > maxSize {
		s.fail(nil, "", "file of %d octets, more than %d", len(src), maxSize)
		return nil
	}
	if line, column := tooDeep(src); line > 0 {
		s.fail(&token.Position{Line: line, Column: column}, "", "brackets nested more than %d deep", maxDepth)
		return nil
	}
	defer func() {
		// The parser is somebody else's; a file must not be able to end us.
		if r := recover(); r != nil {
			s.fail(nil, "", "not YAML: the parser gave up (%v)", r)
			body = nil
		}
	}()
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		s.failYAML(err)
		return nil
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case doc.Body.Type() == ast.DirectiveType:
			s.fail(position(doc.Body), "", "YAML directives are not supported")
		case body != nil:
			s.fail(position(doc.Body), "one document", "a second document")
		default:
			body = doc.Body
		}
	}
	return body
}

func (s *source) failYAML(err error) {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		s.fail(y.GetToken().Position, "", "not YAML: %s", y.GetMessage())
		return
	}
	s.fail(nil, "", "not YAML: %v", err)
}

// tooDeep finds the bracket that is nested deeper than maxDepth; one in a
// string or comment counts too, which no real file will notice.
func tooDeep(src []byte) (line, column int) {
	line, depth := 1, 0
	for _, c := range string(src) {
		column++
		switch c {
		case '\n':
			line, column = line+1, 0
		case '[', '{':
			if depth++; depth > maxDepth {
				return line, column
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return 0, 0
}

// position is where a node begins. A block mapping's own token is the colon of
// its first key.
func position(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken().Position
	}
	if v, ok := n.(*ast.MappingValueNode); ok {
		return v.Key.GetToken().Position
	}
	if t := n.GetToken(); t != nil {
		return t.Position
	}
	return nil
}

// resolve makes a relative file name count from the configuration's directory.
func (s *source) resolve(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.name), name)
}
