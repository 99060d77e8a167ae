package policy

import (
	"os"
	"strings"
	"testing"
)

// TestDocPolicy: the policy that doc.go shows is one.
func TestDocPolicy(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(src)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			b.WriteString(text)
		}
	}
	load(t, b.String(), Tested())
}
