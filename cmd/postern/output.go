package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
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

// sure asks a person at a terminal to type a name before something is lost. Elsewhere
// --yes must be given.
func (c *cli) sure(yes bool, format, name string) error {
	if yes {
		return nil
	}
	if f, ok := c.in.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return errors.New("not at a terminal: give --yes")
	}
	fmt.Fprintf(c.errs, format, name)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != name {
		return errors.New("nothing is changed")
	}
	return nil
}

// progressEvery is how often long work tells how far it is.
const progressEvery = 1000

// progress tells people at a terminal how far long work is.
func (c *cli) progress(n int, what string) {
	if f, ok := c.errs.(*os.File); ok && !c.quiet && n%progressEvery == 0 && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(c.errs, "\r%d %s …", n, what)
	}
}
