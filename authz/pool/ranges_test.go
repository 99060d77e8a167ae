package pool

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.0.0/24": "10.1.0.1-10.1.0.254", "10.1.0.0/31": "10.1.0.0-10.1.0.1", "10.1.0.7/32": "10.1.0.7",
		"10.1.0.0/30": "10.1.0.1-10.1.0.2", "10.1.0.10-10.1.0.99": "10.1.0.10-10.1.0.99",
		"10.1.0.0 - 10.1.0.255": "10.1.0.0-10.1.0.255", "10.1.0.5": "10.1.0.5",
		"0.0.0.0/0": "0.0.0.1-255.255.255.254",
	} {
		r, err := ParseRange(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := (span{number(r.First), number(r.Last)}).String(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	for in, want := range map[string]string{
		"": "want an IPv4 address", "10.1.0.1/24": "want 10.1.0.0/24", "10.1.0.9-10.1.0.1": "lower first",
		"2001:db8::/64": "IPv4", "2001:db8::1": "IPv4", "::-::1": "IPv4", "::ffff:10.0.0.1": "IPv4",
		"10.1.0.0/33": "prefix", "10.1.0-10.2": "range", "corp": "address",
	} {
		if _, err := ParseRange(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSpans(t *testing.T) {
	for _, row := range []struct {
		in, holes []span
		want      string
	}{
		{[]span{{5, 9}, {1, 4}}, nil, "[[1 9]]"},
		{[]span{{1, 4}, {6, 9}, {2, 3}}, nil, "[[1 4] [6 9]]"},
		{[]span{{1, 9}}, []span{{4, 5}}, "[[1 3] [6 9]]"},
		{[]span{{1, 9}}, []span{{0, 1}, {9, 20}}, "[[2 8]]"},
		{[]span{{1, 9}}, []span{{1, 9}}, "[]"},
		{[]span{{0, 1<<32 - 1}, {7, 8}}, []span{{0, 0}, {1<<32 - 1, 1<<32 - 1}}, "[[1 4294967294]]"},
		{[]span{{1, 2}, {8, 9}}, []span{{2, 8}}, "[[1 1] [9 9]]"},
		{[]span{{4, 5}}, []span{{1, 3}, {6, 7}}, "[[4 5]]"},
	} {
		got := [][]uint32{}
		for _, x := range subtract(union(row.in), row.holes) {
			got = append(got, []uint32{x.first, x.last})
		}
		if s := fmt.Sprint(got); s != row.want {
			t.Errorf("got %s, want %s", s, row.want)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"10.1.0.0/24", "10.1.0.10-10.1.0.99", "10.1.0.5", "0.0.0.0/0", "1.2.3.4/31", "-", "/", "::1-::2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		again, err := ParseRange(r.First.String() + "-" + r.Last.String())
		if err != nil || again != r {
			t.Fatalf("%q: %v, again %v, %v", s, r, again, err)
		}
	})
}
