package lab

import (
	"fmt"
	"io"
	"os"
)

// narrator prints the tour for people: steps, what was seen, and whether that was
// right. Colour only on a terminal, and never as the only sign.
type narrator struct {
	out    io.Writer
	colour bool
	steps  int
	wrong  int
}

func newNarrator(out io.Writer) *narrator {
	n := &narrator{out: out}
	if f, ok := out.(*os.File); ok && os.Getenv("NO_COLOR") == "" {
		st, err := f.Stat()
		n.colour = err == nil && st.Mode()&os.ModeCharDevice != 0
	}
	return n
}

func (n *narrator) paint(code, s string) string {
	if !n.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (n *narrator) line(format string, args ...any) { fmt.Fprintf(n.out, format+"\n", args...) }

// step begins a step.
func (n *narrator) step(title string) {
	n.steps++
	n.line("")
	n.line("%s", n.paint("1", fmt.Sprintf("%d. %s", n.steps, title)))
}

// note tells what is going on.
func (n *narrator) note(format string, args ...any) { n.line("     "+format, args...) }

// check tells what was seen and whether it was right.
func (n *narrator) check(right bool, format string, args ...any) bool {
	mark := n.paint("32", "ok  ")
	if !right {
		mark = n.paint("31", "FAIL")
		n.wrong++
	}
	n.line("%s %s", mark, fmt.Sprintf(format, args...))
	return right
}
