package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: any text is read or refused with places inside the text.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"gateway.example.yaml", "radiusd.example.yaml"} {
		src, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	for _, c := range brokenGateways {
		f.Add([]byte(c.src))
	}
	for _, c := range brokenServices {
		f.Add([]byte(c.src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 8192 {
			return // the YAML parser's work grows with the square
		}
		_, err := ParseGateway("f", src)
		places(t, src, err)
		_, err = ParseService("f", src)
		places(t, src, err)
	})
}

func places(t *testing.T, src []byte, err error) {
	if err == nil {
		return
	}
	var all Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("error %v, want Errors", err)
	}
	lines := strings.Count(newlines.Replace(string(src)), "\n") + 1
	for _, e := range all {
		if e.Line < 1 || e.Column < 1 || e.Line > lines || e.Message == "" || len(e.Text) > maxText+len("…") {
			t.Fatalf("place outside %d lines: %+v", lines, e)
		}
	}
	_ = err.Error()
}
