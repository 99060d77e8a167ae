package policy

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// inside is where a place in a text's value is in the file: line from 1 and column from 0
// of the value, in characters. It goes along both; where the file has escapes, blanks of
// an indentation or line breaks that YAML folds, the value has less.
func (r *reader) inside(n ast.Node, value string, line, column int) *token.Position {
	pos := *position(n)
	var quote rune
	switch n := n.(type) {
	case *ast.LiteralNode:
		pos.Line, pos.Column = n.Start.Position.Line+1, 1
	case *ast.StringNode:
		switch n.GetToken().Type { //nolint:exhaustive // the others have no quotes
		case token.SingleQuoteType:
			quote = '\''
		case token.DoubleQuoteType:
			quote = '"'
		}
	}
	f := follower{lines: r.lines[min(pos.Line-1, len(r.lines)):], quote: quote, column: pos.Column - 1}
	if quote != 0 {
		f.column++
	}
	atLine, atColumn := 1, 0
	for _, c := range value {
		if atLine > line || atLine == line && atColumn >= column {
			break
		}
		f.pass(c)
		if atColumn++; c == '\n' {
			atLine, atColumn = atLine+1, 0
		}
	}
	f.blanks(rune(0))
	pos.Line += f.line
	pos.Column = f.column + 1
	return &pos
}

// follower is a place in a file.
type follower struct {
	lines        []string
	line, column int
	quote        rune
}

// rest is what is left of the line.
func (f *follower) rest() []rune {
	if f.line >= len(f.lines) {
		return nil
	}
	l := []rune(f.lines[f.line])
	return l[min(f.column, len(l)):]
}

// blanks goes to the next character that is no blank, on this line or a later one.
func (f *follower) blanks(next rune) {
	for f.line < len(f.lines) && next != ' ' && next != '\t' {
		rest := f.rest()
		blank := len(rest) - len([]rune(strings.TrimLeft(string(rest), " \t")))
		f.column += blank
		if blank < len(rest) || f.line == len(f.lines)-1 {
			return
		}
		f.line, f.column = f.line+1, 0
	}
}

// pass goes over a character of the value.
func (f *follower) pass(c rune) {
	if c == ' ' || c == '\t' || c == '\n' {
		if rest := f.rest(); len(rest) > 0 && rest[0] == c {
			f.column++
		} else if len(rest) > 1 && rest[0] == '\\' && f.quote == '"' {
			f.column += 2
		} else if f.line < len(f.lines)-1 {
			f.blanks(0)
		}
		return
	}
	f.blanks(c)
	rest := f.rest()
	switch {
	case len(rest) > 1 && f.quote == '\'' && rest[0] == '\'' && rest[1] == '\'':
		f.column += 2
	case len(rest) > 1 && f.quote == '"' && rest[0] == '\\':
		f.column += 2 + map[rune]int{'x': 2, 'u': 4, 'U': 8}[rest[1]]
	default:
		f.column++
	}
}
