package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPasswordSources(t *testing.T) {
	s := newSite(t)
	s.write(t, "password", "from a file\r\nand more\n")
	for i, c := range []struct{ input, flags, want string }{
		{"typed\n", "", "typed"},
		{"typed\nmore\n", "", "typed"},
		{"without an end", "", "without an end"},
		{"windows\r\n", "--password-file -", "windows"},
		{" spaces stay \n", "", " spaces stay "},
		{"not this", "--password-file " + s.path("password"), "from a file"},
		{"grüße €\n", "", "grüße €"},
	} {
		name := fmt.Sprint("user", i)
		s.must(t, c.input, append([]string{"user", "add", name}, strings.Fields(c.flags)...)...)
		if !s.opens(t, "users", name, c.want) {
			t.Errorf("%q %s: the password is not %q", c.input, c.flags, c.want)
		}
	}
	s.write(t, "empty", "\nsecond line\n")
	for _, c := range []struct{ input, words, flags string }{
		{"", "read password: none given", ""},
		{"\n", "read password: none given", "--password-file -"},
		{"x", "read password: none given", "--password-file " + s.path("empty")},
		{"x", "read password: open /nonexistent/p: no such file", "--password-file /nonexistent/p"},
	} {
		s.fails(t, c.input, c.words, append([]string{"user", "add", "nobody"}, strings.Fields(c.flags)...)...)
	}
	if list := s.users(t); len(list) != 7 {
		t.Errorf("%d accounts", len(list))
	}
	s.must(t, "", "user", "passwd", "user0", "--password-file", s.path("password"))
	if !s.opens(t, "users", "user0", "from a file") {
		t.Error("passwd --password-file")
	}
}

// terminal is a pseudo-terminal: what a person types into, and what the tool reads.
func terminal(t *testing.T) (person, tool *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tool, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tool.Close() })
	return person, tool
}

// prompted answers prompts in turn, as a person who types when the echo is off.
type prompted struct {
	bytes.Buffer
	person  *os.File
	answers []string
	typing  sync.WaitGroup // the test waits
}

func (p *prompted) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), ": ") && len(p.answers) > 0 {
		answer := p.answers[0]
		p.answers = p.answers[1:]
		p.typing.Go(func() {
			for range 10_000 {
				if t, err := unix.IoctlGetTermios(int(p.person.Fd()), unix.TCGETS); err != nil || t.Lflag&unix.ECHO == 0 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			fmt.Fprintf(p.person, "%s\n", answer)
		})
	}
	return p.Buffer.Write(b)
}

// At a terminal a password is asked for twice and is not echoed.
func TestPasswordPrompt(t *testing.T) {
	s := newSite(t)
	for i, c := range []struct {
		answers []string
		words   string // "": it is taken
		left    int
	}{
		{[]string{"correct horse", "correct horse"}, "", 0},
		{[]string{"correct horse", "correct mouse"}, "the passwords differ", 0},
		{[]string{"", "x"}, "read password: none given", 1},
	} {
		person, tool := terminal(t)
		name := fmt.Sprint("user", i)
		var out bytes.Buffer
		errs := &prompted{person: person, answers: c.answers}
		root := newRoot(&cli{in: tool, out: &out, errs: errs})
		root.SetArgs([]string{"--config", s.path("radiusd.yaml"), "user", "add", name})
		err := root.Execute()
		errs.typing.Wait()
		if c.words == "" && (err != nil || !s.opens(t, "users", name, c.answers[0])) || c.words != "" && (err == nil || err.Error() != c.words) {
			t.Errorf("%q: %v", c.answers, err)
		}
		if len(errs.answers) != c.left || !strings.HasPrefix(errs.String(), "New password for "+name+": ") {
			t.Errorf("%q: it said %q, and %d answers are left", c.answers, errs, len(errs.answers))
		}
		if _, err := tool.Write([]byte("the end\n")); err != nil {
			t.Fatal(err)
		}
		for echo := bufio.NewScanner(person); echo.Scan() && !strings.Contains(echo.Text(), "the end"); {
			if strings.Contains(echo.Text(), "correct") {
				t.Errorf("the terminal showed %q", echo.Text())
			}
		}
	}
	if list := s.users(t); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}
