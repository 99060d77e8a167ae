package policy

import (
	"fmt"
	"strings"
)

// Error is one mistake in a policy file.
type Error struct {
	File         string
	Line, Column int    // from 1; columns count characters
	Message      string // what is wrong
	Expected     string // what would be right, "" where Message says it
	Text         string // the line
}

// maxText bounds the line shown with an error, ours.
const maxText = 240

// Error returns the position and message, the line with a caret, and what was
// expected, on up to four lines.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Text != "" && len(e.Text) <= maxText {
		number := fmt.Sprintf("%4d", e.Line)
		caret := []rune(e.Text)
		caret = caret[:min(len(caret), e.Column-1)]
		for i, r := range caret {
			if r != '\t' {
				caret[i] = ' '
			}
		}
		fmt.Fprintf(&b, "\n%s | %s\n%*s | %s^", number, e.Text, len(number), "", string(caret))
	}
	if e.Expected != "" {
		fmt.Fprintf(&b, "\n       expected %s", e.Expected)
	}
	return b.String()
}

// Errors are all mistakes of a policy in the order of its files and of their places.
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
