package filter

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mdlayher/netlink"
)

func TestAttributes(t *testing.T) {
	inner, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: []byte("abc\x00")}, {Type: 2, Data: []byte{0, 0, 1, 2}}, {Type: 3, Data: []byte{0, 0, 0, 0, 0, 0, 1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	outer, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 7, Data: []byte{1}}, {Type: 8 | netlink.Nested, Data: inner}})
	if err != nil {
		t.Fatal(err)
	}
	a := attributes(outer)
	if s := a.get(8, 1).text(); s != "abc" {
		t.Errorf("text %q", s)
	}
	if a.get(8, 2).number() != 0x102 || a.get(8, 3).number() != 0x102 || a.get(7).number() != 0 || a.get(9).number() != 0 {
		t.Error("numbers")
	}
	if a.get(8, 9) != nil || a.get(7, 1) != nil || attributes(nil).get(1) != nil || a.get(9).text() != "" {
		t.Error("found what is not there")
	}
	for i := range outer {
		attributes(outer[:i]).get(8, 3) // cut off anywhere
	}
	if _, _, ok := new(attributes).next(); ok {
		t.Error("an attribute in nothing")
	}
}

func TestComment(t *testing.T) {
	for want, data := range map[string][]byte{
		"":                  nil,
		"ping":              (&rule{comment: "ping"}).userData(),
		"behind":            append([]byte{9, 2, 'x', 'y'}, (&rule{comment: "behind"}).userData()...),
		"not\x01terminated": append([]byte{0, 14}, "not\x01terminated"...),
	} {
		if got := comment(data); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, data := range [][]byte{{0}, {0, 5, 'a'}, {9, 0}, {9, 200, 0, 1, 'x'}} {
		if got := comment(data); got != "" {
			t.Errorf("%x is %q", data, got)
		}
	}
}

// FuzzAttributes: nothing panics, no walk goes on for ever, and values lie within.
func FuzzAttributes(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 'a', 'b', 'c', 0, 5, 0, 2, 0x80, 1})
	f.Add([]byte{4, 0, 1, 0, 3, 0, 1, 0})
	f.Add([]byte{0xff, 0xff, 1, 0})
	f.Add([]byte{0, 4, 'p', 'i', 'n', 'g'})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for a := attributes(b); ; n++ {
			_, value, ok := a.next()
			if !ok {
				break
			}
			if len(value) > 0 && !bytes.Contains(b, value) {
				t.Fatalf("%x is not in %x", value, b)
			}
			value.text()
			value.number()
		}
		if n > len(b)/nlaHeader {
			t.Fatalf("%d attributes in %d octets", n, len(b))
		}
		attributes(b).get(1, 2, 3)
		if c := comment(b); len(c) > len(b) {
			t.Fatalf("comment %q", c)
		}
	})
}

func TestReaderClosed(t *testing.T) {
	r := &reader{}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	if err := r.counters(func(string, tally) {}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// What hosts there are, and which address is this one's.
func TestLocals(t *testing.T) {
	newWorld(t)
	l, err := openLocals()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for a, want := range map[string]bool{"10.9.0.1": true, "10.20.255.254": true, "127.0.0.1": true, "10.20.0.5": false, "8.8.8.8": false} {
		if got, err := l.local(addr(a)); got != want || err != nil {
			t.Errorf("%s: %v, %v", a, got, err)
		}
	}
	for _, kind := range []string{"unreachable", "blackhole", "prohibit"} {
		run(t, "ip", "route", "replace", kind, "198.18.0.0/15")
		if got, err := l.local(addr("198.18.0.1")); got || err != nil {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
}
