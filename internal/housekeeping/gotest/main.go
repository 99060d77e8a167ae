// Command gotest runs `go test` with the arguments it is given and prints what
// go test prints, but for one rule: with POSTERN_TEST_REQUIRE=1 a test that skips
// has failed. On a machine that is meant to have everything, a skip is a check
// that nobody made. What failed is named once more at the end, where who sees only
// the end of a long run finds it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// event is a line of test2json; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

// summary prints a run as go test without -v would: nothing of what passed but
// the package's line, all of what failed or skipped.
type summary struct {
	out     io.Writer
	held    map[string][]string // output of tests still running, by package and test
	skipped []string
	failed  []string // what each failed test said, by first lines
}

// said is the first line of what a test logs, or reports.
var said = regexp.MustCompile(`^ +\w+\.go:\d+: `)

func (s *summary) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		switch {
		case e.Test != "":
			s.held[key] = append(s.held[key], e.Output)
		case !strings.HasPrefix(e.Output, "PASS") && !strings.Contains(e.Output, "[no test files]"):
			fmt.Fprint(s.out, e.Output)
		}
	case "skip":
		if e.Test != "" {
			s.skipped = append(s.skipped, key)
		}
		fallthrough
	case "fail":
		if e.Action == "fail" && e.Test != "" {
			s.failed = append(s.failed, "FAIL: "+key+"\n")
		}
		for _, line := range s.held[key] {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprint(s.out, line)
			}
			if e.Action == "fail" && said.MatchString(line) {
				s.failed = append(s.failed, line)
			}
		}
		delete(s.held, key)
	case "pass":
		delete(s.held, key)
	}
}

func run(args []string, out io.Writer, strict bool) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		return 2
	}
	s := &summary{out: out, held: make(map[string][]string)}
	for d := json.NewDecoder(pipe); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "gotest: go test -json:", err)
			break
		}
		s.add(e)
	}
	// What still ran when its package died (a panic, a time-out) is the news.
	for _, lines := range s.held {
		fmt.Fprint(out, strings.Join(lines, ""))
	}
	fmt.Fprint(out, strings.Join(s.failed, ""))
	code := 0
	if err := cmd.Wait(); err != nil {
		code = 1
	}
	if strict && len(s.skipped) > 0 {
		fmt.Fprintf(out, "FAIL: skipped where nothing may be: %s\n", strings.Join(s.skipped, ", "))
		code = 1
	}
	return code
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Getenv("POSTERN_TEST_REQUIRE") == "1"))
}
