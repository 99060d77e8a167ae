package lab

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListen(t *testing.T) {
	for in, want := range map[string]string{
		"": "0.0.0.0:1723", "10.78.0.1": "10.78.0.1:1723", "10.78.0.1:1999": "10.78.0.1:1999", "127.0.0.1:0": "127.0.0.1:0",
		"::1": "", "localhost": "", "[::]:1723": "", "10.78.0.1:": "", "10.78.0.1:99999": "", "10.78.0": "", ":1723": "",
	} {
		got, err := parseListen(in)
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "an IPv4 address, with :PORT or without, wanted")):
			t.Errorf("%q: %v, %v", in, got, err)
		case want != "" && (err != nil || got.String() != want):
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestWhereClientsDial(t *testing.T) {
	for in, want := range map[string][2]string{
		"0.0.0.0:1723": {"127.0.0.1:1723", "any address of this host"}, "10.78.0.1:1999": {"10.78.0.1:1999", "10.78.0.1"},
	} {
		l := lab{files: files{Listen: netip.MustParseAddrPort(in)}}
		if l.dialAddr().String() != want[0] || l.reachable() != want[1] {
			t.Errorf("%s: %v and %s", in, l.dialAddr(), l.reachable())
		}
	}
}

// Flags that are wrong make nothing.
func TestWrongFlags(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	for want, o := range map[string]Options{
		`--listen "::1"`:                              {Listen: "::1"},
		`--radius "127.0.0.1"`:                        {Radius: "127.0.0.1"},
		`--radius "127.0.0.1:0": ADDR:PORT wanted`:    {Radius: "127.0.0.1:0"},
		`--radius "127.0.0.1:65535"`:                  {Radius: "127.0.0.1:65535"}, // accounting is on the next
		`--radius "localhost:1812": ADDR:PORT wanted`: {Radius: "localhost:1812"},
	} {
		if os.Geteuid() != 0 {
			want = "run it as root"
		}
		o.Dir, o.Out, o.Err = dir, io.Discard, io.Discard
		if err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
}

func TestLastDecision(t *testing.T) {
	l := lab{state: &state{dir: t.TempDir()}}
	if d := l.lastDecision(); d != (decision{}) {
		t.Errorf("without a file: %+v", d)
	}
	text := `{"msg":"login","decision":"a","reason":"wrong password"}` + "\n" +
		`{"msg":"login","decision":"b","reason":"permitted","rule":"people","more":1}` + "\n" +
		`{"msg":"session start","decision":"b","rule":"people"}` + "\n" + `{"msg":"log`
	if err := os.WriteFile(l.state.path("audit.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := l.lastDecision(); d != (decision{"login", "b", "permitted", "people"}) {
		t.Errorf("%+v", d)
	}
}
