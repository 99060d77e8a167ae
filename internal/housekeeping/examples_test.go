package housekeeping

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"postern/policy"
)

// example is a fenced block of a Markdown page.
type example struct {
	where    string // file:line
	language string
	text     string
}

// examples reads the fenced blocks of a page; a fence left open is an example too,
// so that it is looked at.
func examples(name, page string) []example {
	var all []example
	var open *example
	n := 0
	for line := range strings.Lines(page) {
		n++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			all = append(all, example{where: fmt.Sprintf("%s:%d", name, n), language: fence})
			open = &all[len(all)-1]
		case isFence:
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return all
}

// wrong says why an example does not read as the language its fence names.
func wrong(e example) error {
	switch e.language {
	case "sh", "bash", "shell":
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(e.text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bash -n: %w: %s", err, out)
		}
	case "yaml policy": // its tests are run, too
		if _, err := policy.Load("policy.yaml", []byte(e.text), policy.Tested()); err != nil {
			return err
		}
	case "yaml":
		for d := yaml.NewDecoder(strings.NewReader(e.text)); ; {
			var v any
			if err := d.Decode(&v); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
	}
	return nil
}

func TestDocumentedExamplesParse(t *testing.T) {
	for _, page := range trackedFiles(t, "*.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range examples(page, string(text)) {
			if err := wrong(e); err != nil {
				t.Errorf("%s: %s example: %v", e.where, e.language, err)
			}
		}
	}
}

func TestExamplesCanFail(t *testing.T) {
	const test = "version: 1\nrules: [{id: all, then: deny}]\ntests: [{name: x, expect: {verdict: "
	got := examples("page", "text\n```sh\nfor x in; done\n```\n\n```yaml\na: [1\n```\n```sh\nmake test\n```\n"+
		"```yaml policy\nversion: 2\n```\n```yaml policy\n"+test+"permit}}]\n```\n```yaml policy\n"+test+"deny}}]\n```\n")
	if len(got) != 6 {
		t.Fatalf("%d examples, want 6: %+v", len(got), got)
	}
	for i, ok := range []bool{false, false, true, false, false, true} {
		if err := wrong(got[i]); (err == nil) != ok {
			t.Errorf("%s: %v", got[i].where, err)
		}
	}
}
