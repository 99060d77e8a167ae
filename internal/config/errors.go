package config

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int    // from 1; columns count characters
	Message      string // what is wrong
	Expected     string // what would be right, "" where Message says it
	Text         string // the line, secrets taken out
}

// Error returns the position and message, the line with a caret, and what was
// expected, on up to four lines.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Text != "" {
		number := fmt.Sprintf("%4d", e.Line)
		pad := strings.Repeat(" ", len(number))
		fmt.Fprintf(&b, "\n%s | %s\n%s | %s^", number, e.Text, pad, indent(e.Text, e.Column-1))
	}
	if e.Expected != "" {
		fmt.Fprintf(&b, "\n       expected %s", e.Expected)
	}
	return b.String()
}

// indent is as wide as the first n characters of text: tabs stay tabs.
func indent(text string, n int) string {
	var b strings.Builder
	for _, r := range text {
		if n--; n < 0 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Errors are all mistakes of a file in the order of their places.
type Errors []*Error

// Error joins the mistakes, one after another.
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

func (e Errors) sorted() Errors {
	sort.SliceStable(e, func(i, j int) bool {
		if e[i].Line != e[j].Line {
			return e[i].Line < e[j].Line
		}
		return e[i].Column < e[j].Column
	})
	return e
}

// Somebody who writes a password where its file's name belongs gets an error,
// and errors are logged: the value must not be in it.
var (
	secretValue = regexp.MustCompile(`(?i)((?:secret|passw(?:or)?d|token|psk)["']?\s*:\s*)[^\s,}].*`)
	urlPassword = regexp.MustCompile(`://[^/@\s]*@`)
)

// maxText bounds the line shown with an error.
const maxText = 240

func redact(line string) string {
	line = secretValue.ReplaceAllString(line, "${1}(not shown)")
	line = urlPassword.ReplaceAllString(line, "://(not shown)@")
	if len(line) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(line[cut]) {
			cut--
		}
		line = line[:cut] + "…"
	}
	return line
}
