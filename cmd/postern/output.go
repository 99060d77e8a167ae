package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// show prints v as JSON where that was asked for, else as table writes it.
func (c *cli) show(v any, table func(w *tabwriter.Writer)) error {
	if c.output == "json" {
		e := json.NewEncoder(c.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// say is show for one sentence.
func (c *cli) say(v any, format string, args ...any) error {
	return c.show(v, func(w *tabwriter.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

// hint tells people what else they might want to do; programs do not see it.
func (c *cli) hint(format string, args ...any) {
	if !c.quiet && c.output != "json" {
		fmt.Fprintf(c.errs, format+"\n", args...)
	}
}

// moment prints a time the way people compare it with their watch.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// orDash keeps the columns of a table apart.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// visible is what a NAS said, fit for a terminal and for one cell of a table: control
// characters in an Acct-Session-Id could paint anything.
func visible(s string) string {
	return orDash(strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, s))
}
