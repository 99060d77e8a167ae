package captive

import (
	"errors"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	fill := func(n int) string {
		return "GET /" + strings.Repeat("a", n-len("GET / HTTP/1.1\r\n\r\n")) + " HTTP/1.1\r\n\r\n"
	}
	for _, tc := range []struct {
		about, text string
		done        bool
		head        bool
		err         error
	}{
		{"a browser's", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", true, false, nil},
		{"of 1996", "GET http://example.org/ HTTP/1.0\r\n\r\n", true, false, nil},
		{"without a host", "GET /generate_204 HTTP/1.1\r\n\r\n", true, false, nil},
		{"HEAD", "HEAD / HTTP/1.1\r\n\r\n", true, true, nil},
		{"with content", "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", true, false, nil},
		{"any method", "M-SEARCH * HTTP/1.1\r\n\r\n", true, false, nil},
		{"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\n\r\n", true, false, nil},
		{"bare LF", "GET / HTTP/1.1\nHost: x\n\n", true, false, nil},
		{"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", true, false, nil},
		{"UTF-8 in the target", "GET /ä HTTP/1.1\r\n\r\n", true, false, nil},
		{"a folded line", "GET / HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n", true, false, nil},
		{"as long as may be", fill(maxHeader), true, false, nil},
		{"one more", fill(maxHeader + 1), false, false, errTooLong},
		{"lines without an end", "GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 5000), false, false, errTooLong},
		{"empty lines without an end", strings.Repeat("\r\n", maxHeader), false, false, errTooLong},
		{"the half of it", "GET / HTTP/1.1\r\nHost: exa", false, false, nil},
		{"HTTP/0.9", "GET /\r\n", false, false, errMalformed},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, false, errMalformed},
		{"TLS", "\x16\x03\x01\x02\x00\x01", false, false, errMalformed},
		{"SSH", "SSH-2.0-x\r\n", false, false, errMalformed},
		{"no method", " / HTTP/1.1\r\n\r\n", false, false, errMalformed},
		{"a long method", strings.Repeat("A", maxMethod+1) + " / HTTP/1.1\r\n\r\n", false, false, errMalformed},
		{"NUL", "GET /\x00 HTTP/1.1\r\n\r\n", false, false, errMalformed},
		{"NUL in a field", "GET / HTTP/1.1\r\nX: \x00\r\n\r\n", false, false, errMalformed},
		{"CR alone", "GET / HTTP/1.1\r\nX: a\rSet-Cookie: b\r\n\r\n", false, false, errMalformed},
		{"two CR", "GET / HTTP/1.1\r\r\n\r\n", false, false, errMalformed},
		{"a version of letters", "GET / HTTP/1.x\r\n\r\n", false, false, errMalformed},
	} {
		for _, piece := range []int{len(tc.text), 1, 7} {
			var r request
			var done bool
			var err error
			for rest := tc.text; rest != "" && !done && err == nil; {
				n := min(piece, len(rest))
				done, err = r.input([]byte(rest[:n]))
				rest = rest[n:]
			}
			if done != tc.done || !errors.Is(err, tc.err) || r.head() != tc.head {
				t.Errorf("%s, in pieces of %d: done %v, HEAD %v, %v", tc.about, piece, done, r.head(), err)
			}
		}
	}
}

// Whatever comes and in whatever pieces, it is one request, none, or not yet one, and
// bounded.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD http://x/ HTTP/1.0\n\n", "\r\nPOST / HTTP/1.1\r\n\r\n{}", "\x16\x03\x01", "GET / HTTP/1.1\rX", "G",
	} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = min(max(piece, 1), len(b)+1)
		var whole, parts request
		done, err := whole.input(b)
		var done2 bool
		var err2 error
		for rest := b; len(rest) > 0 && !done2 && err2 == nil; {
			n := min(piece, len(rest))
			done2, err2 = parts.input(rest[:n])
			rest = rest[n:]
		}
		switch {
		case done != done2 || !errors.Is(err, err2) || whole != parts:
			t.Fatalf("in pieces of %d: %v %v, at once: %v %v", piece, done2, err2, done, err)
		case done && err != nil, whole.octets > maxHeader+1, whole.letters > maxMethod:
			t.Fatalf("%+v, %v", whole, err)
		case done && (whole.lines == 0 || whole.letters == 0 || string(whole.tail[:len(version)]) != version):
			t.Fatalf("took %q for a request", b)
		}
	})
}
