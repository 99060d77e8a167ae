package directory

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a file. It never shows the line: there is a secret on
// most of them.
type Error struct {
	File         string
	Line, Column int // from 1; columns count octets
	Message      string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors are all mistakes of a file in the order of their places.
type Errors []*Error

// Error joins the mistakes, one on each line.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i, one := range e {
		parts[i] = one.Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap makes the mistakes reachable by errors.As.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// maxWord is pppd's MAXWORDLEN less the NUL; pppd cuts longer words, we refuse.
const maxWord = 1023

// maxFile bounds a file, ours: some 100,000 users.
const maxFile = 16 << 20

// word is one word of a line.
type word struct {
	text         string
	line, column int
}

// record is the words of one line. Backslash and newline join lines, so it ends
// on a line of its own.
type record struct {
	words []word
	first int // line of the first word
	last  int // line of the last
}

// split reads a file into records by pppd's rules (options.c, getword): white
// space separates, # begins a comment, ' and " quote, anywhere in a word too,
// and a backslash escapes inside quotes as well: \a \b \f \n \r \s \t, octal,
// \x, and everything else for itself. A newline inside quotes would be part of
// the word for pppd; here it is a mistake, because it is always one, and would
// make the rest of the file part of a secret.
func split(file string, src []byte) (records []record, errs Errors) {
	if len(src) > maxFile {
		return nil, Errors{{file, 1, 1, fmt.Sprintf("file of %d octets, more than %d", len(src), maxFile)}}
	}
	l := lexer{src: src, line: 1, column: 1}
	var cur record
	flush := func() {
		if len(cur.words) > 0 {
			records = append(records, cur)
		}
		cur = record{}
	}
	for l.pos < len(src) {
		switch c := src[l.pos]; {
		case c == '\n':
			l.take()
			flush()
		case c == '\\' && l.pos+1 < len(src) && src[l.pos+1] == '\n':
			l.take()
			l.take()
		case isSpace(c):
			l.take()
		case c == '#':
			for l.pos < len(src) && src[l.pos] != '\n' {
				l.take()
			}
		default:
			w, problem := l.word()
			switch {
			case problem != "":
				errs = append(errs, &Error{file, w.line, w.column, problem})
			case len(w.text) > maxWord:
				errs = append(errs, &Error{file, w.line, w.column, fmt.Sprintf("a word of %d octets, more than %d", len(w.text), maxWord)})
				w.text = ""
			case strings.ContainsRune(w.text, 0):
				errs = append(errs, &Error{file, w.line, w.column, "a word with a NUL, where pppd would cut it"})
			}
			if len(cur.words) == 0 {
				cur.first = w.line
			}
			cur.words = append(cur.words, w)
			cur.last = l.line
		}
	}
	flush()
	return records, errs
}

// lexer walks over a file.
type lexer struct {
	src          []byte
	pos          int
	line, column int
}

// take goes past one octet.
func (l *lexer) take() byte {
	c := l.src[l.pos]
	l.pos++
	if l.column++; c == '\n' {
		l.line, l.column = l.line+1, 1
	}
	return c
}

// word reads a word; the next octet begins one.
func (l *lexer) word() (w word, problem string) {
	w.line, w.column = l.line, l.column
	var b strings.Builder
	var quote byte
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == '\\':
			l.take()
			if !l.escape(&b) {
				problem = "a backslash at the end of the file"
			}
		case c == '\n' && quote != 0:
			w.text = b.String()
			return w, "quotes that do not end on this line"
		case quote != 0 && c == quote:
			l.take()
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = l.take()
		case quote == 0 && (isSpace(c) || c == '\n' || c == '#'):
			w.text = b.String()
			return w, problem
		default:
			b.WriteByte(l.take())
		}
	}
	if quote != 0 {
		problem = "quotes that do not end on this line"
	}
	w.text = b.String()
	return w, problem
}

// escape reads what follows a backslash.
func (l *lexer) escape(b *strings.Builder) bool {
	if l.pos == len(l.src) {
		return false
	}
	switch c := l.take(); c {
	case '\n': // a joined line
	case 'a':
		b.WriteByte('\a')
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 's':
		b.WriteByte(' ')
	case 't':
		b.WriteByte('\t')
	case '0', '1', '2', '3', '4', '5', '6', '7':
		b.WriteByte(l.digits(c-'0', 2, 8))
	case 'x':
		b.WriteByte(l.digits(0, 2, 16))
	default:
		b.WriteByte(c)
	}
	return true
}

// digits reads up to n more digits of a number.
func (l *lexer) digits(value byte, n int, base byte) byte {
	for ; n > 0 && l.pos < len(l.src); n-- {
		d := byte(strings.IndexByte("0123456789abcdef", l.src[l.pos]|0x20))
		if c := l.src[l.pos]; c >= '0' && c <= '9' {
			d = c - '0'
		}
		if d >= base { // -1 is 255
			break
		}
		value = value*base + d
		l.take()
	}
	return value
}

// isSpace is C's isspace without the newline.
func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'
}

// quoted returns text as one word that split reads back.
func quoted(text string) string {
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune("#\"'\\", r)
	}) {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
