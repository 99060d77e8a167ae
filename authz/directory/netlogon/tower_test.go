package netlogon

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// stubCaller answers calls from memory.
type stubCaller func(operation uint16, stub []byte) ([]byte, error)

func (f stubCaller) call(operation uint16, stub []byte) ([]byte, error) { return f(operation, stub) }

func TestMapPort(t *testing.T) {
	for _, g := range readGolden(t, "tower.txt") {
		t.Run(g.name, func(t *testing.T) {
			port, err := mapPort(stubCaller(func(op uint16, _ []byte) ([]byte, error) {
				if op != opMap {
					t.Errorf("operation %d", op)
				}
				return g.octets, nil
			}), &netlogonInterface)
			if g.fails != "" {
				if !errors.Is(err, parseErrors[g.fails]) {
					t.Errorf("error %v, want %q", err, g.fails)
				}
				return
			}
			got := fmt.Sprint(port)
			if err != nil {
				got = err.Error()
			}
			if got != g.reads {
				t.Errorf("reads %s, want %s", got, g.reads)
			}
		})
	}
	lost := errors.New("lost")
	if _, err := mapPort(stubCaller(func(uint16, []byte) ([]byte, error) { return nil, lost }), &netlogonInterface); !errors.Is(err, lost) {
		t.Error(err)
	}
}

// What a Samba DC understood.
func TestMapRequest(t *testing.T) {
	want := unhex(t, "00000000010000004b0000004b000000050013000d785634123412cdabef0001234567cffb01000200000013000d045d888aeb1cc9119fe808002b10"+
		"486002000200000001000b020000000100070200000001000904000000000000000000000000000000000000000000000000000008000000")
	if got := mapRequest(towerOf(&netlogonInterface, 0)); !bytes.Equal(got, want) {
		t.Errorf("%x\nwant %x", got, want)
	}
}

func TestTowerPort(t *testing.T) {
	good := towerOf(&netlogonInterface, 49152)
	if port, ok := good.port(&netlogonInterface); !ok || port != 49152 {
		t.Error(port, ok)
	}
	if _, ok := good.port(&samrInterface); ok {
		t.Error("one interface's tower passes for another's")
	}
	if port, ok := good[:4].port(&netlogonInterface); !ok || port != 49152 {
		t.Error("a tower without an address is of use too")
	}
	for name, edit := range map[string]func(tower){
		"no port":            func(t tower) { t[3].rhs = []byte{0, 0} },
		"a port of 3 octets": func(t tower) { t[3].rhs = []byte{1, 2, 3} },
		"UDP":                func(t tower) { t[3].lhs = []byte{0x08} },
		"connectionless":     func(t tower) { t[2].lhs = []byte{0x0a} },
		"NDR64":              func(t tower) { t[1].lhs = t[0].lhs },
	} {
		bad := towerOf(&netlogonInterface, 49152)
		edit(bad)
		if port, ok := bad.port(&netlogonInterface); ok {
			t.Errorf("%s: port %d", name, port)
		}
	}
	for n := range 4 {
		if _, ok := good[:n].port(&netlogonInterface); ok {
			t.Errorf("%d floors", n)
		}
	}
}

func FuzzTower(f *testing.F) {
	f.Add(towerOf(&netlogonInterface, 49152).Append(nil))
	f.Add(towerOf(&samrInterface, 1)[:3].Append(nil))
	f.Add([]byte{1, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		tw, err := parseTower(b)
		if err != nil {
			return
		}
		if again := tw.Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%x reads as %x", b, again)
		}
		tw.port(&netlogonInterface)
	})
}

func FuzzMapReply(f *testing.F) {
	for _, g := range readGolden(f, "tower.txt") {
		f.Add(g.octets)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		towers, _, err := parseMapReply(b)
		if err != nil {
			return
		}
		if len(towers) > maxTowers {
			t.Errorf("%d towers", len(towers))
		}
		size := 0
		for _, tw := range towers {
			size += len(tw.Append(nil))
		}
		if size > len(b) {
			t.Errorf("%d octets of towers from %d", size, len(b))
		}
	})
}
