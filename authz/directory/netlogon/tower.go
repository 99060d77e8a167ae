package netlogon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// C706 appendix I and O. Floors 1 and 2 are the interface and the transfer syntax,
// then come the protocols, the next lower one each.
const (
	mapperPort = 135
	opMap      = 3
	maxTowers  = 8

	floorUUID = 0x0d
	floorRPC  = 0x0b // connection-oriented, version 5
	floorTCP  = 0x07
	floorIP   = 0x09

	mapperNotRegistered = 0x16C9A0D6 // ept_s_not_registered
)

// floor is one floor of a tower. Both are views of what was parsed.
type floor struct{ lhs, rhs []byte }

// tower is a protocol tower: an interface and how it is reached.
type tower []floor

var (
	errTower         = errors.New("tower is misshapen")
	errMapReply      = errors.New("reply of the endpoint mapper is misshapen")
	errNotRegistered = errors.New("the server offers no such interface over TCP: is it a domain controller, and is it up?")
)

// parseTower reads a tower_octet_string. The numbers of floors and their lengths are
// little-endian (MS-RPCE and C706 appendix L).
func parseTower(b []byte) (tower, error) {
	take := func(n int) []byte {
		if n > len(b) {
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		return v
	}
	number := func() (int, bool) {
		v := take(2)
		if v == nil {
			return 0, false
		}
		return int(binary.LittleEndian.Uint16(v)), true
	}
	count, ok := number()
	if !ok {
		return nil, errTower
	}
	var t tower
	for range count {
		var f floor
		for _, side := range []*[]byte{&f.lhs, &f.rhs} {
			n, ok := number()
			if !ok || n > len(b) {
				return nil, errTower
			}
			*side = take(n)
		}
		t = append(t, f)
	}
	if len(b) != 0 {
		return nil, errTower
	}
	return t, nil
}

// Append appends the tower's octets.
func (t tower) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(t)))
	for _, f := range t {
		for _, side := range [][]byte{f.lhs, f.rhs} {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(side)))
			b = append(b, side...)
		}
	}
	return b
}

// towerOf is the tower of an interface over TCP.
func towerOf(s *syntax, port uint16) tower {
	identifier := func(s *syntax) floor {
		lhs := append([]byte{floorUUID}, s.uuid[:]...)
		return floor{binary.LittleEndian.AppendUint16(lhs, s.major), binary.LittleEndian.AppendUint16(nil, s.minor)}
	}
	return tower{
		identifier(s), identifier(&transferNDR),
		{[]byte{floorRPC}, []byte{0, 0}},
		{[]byte{floorTCP}, binary.BigEndian.AppendUint16(nil, port)},
		{[]byte{floorIP}, []byte{0, 0, 0, 0}},
	}
}

// port is where the tower leads to, if that is the interface over TCP. Its address is
// not looked at: Samba says 0.0.0.0, and a DC behind NAT something of no use.
func (t tower) port(s *syntax) (uint16, bool) {
	want := towerOf(s, 0)
	if len(t) < len(want)-1 {
		return 0, false
	}
	for i, f := range want[:3] {
		if string(t[i].lhs) != string(f.lhs) {
			return 0, false
		}
	}
	if string(t[3].lhs) != string(want[3].lhs) || len(t[3].rhs) != 2 {
		return 0, false
	}
	port := binary.BigEndian.Uint16(t[3].rhs)
	return port, port != 0
}

// mapRequest is the stub data of ept_map (C706 appendix O).
func mapRequest(t tower) []byte {
	var e encoder
	e.uint32(0) // no object
	e.uint32(1) // a full pointer to the tower
	octets := t.Append(nil)
	e.uint32(uint32(len(octets)))
	e.uint32(uint32(len(octets)))
	e.octets(octets)
	e.align(4)
	e.octets(make([]byte, 20)) // first call: no handle
	e.uint32(maxTowers)
	return e.b
}

// parseMapReply reads the stub data of ept_map's reply.
func parseMapReply(b []byte) ([]tower, uint32, error) {
	d := decoder{b: b}
	d.octets(20) // handle, for more of them
	n := d.uint32()
	d.uint32() // room, first and number again
	first := d.uint32()
	again := d.uint32()
	if d.short || first != 0 || again != n || n > maxTowers {
		return nil, 0, errMapReply
	}
	var present uint32
	for range n {
		if d.uint32() != 0 {
			present++
		}
	}
	var towers []tower
	for range present {
		size := d.uint32()
		if d.uint32() != size {
			return nil, 0, errMapReply
		}
		t, err := parseTower(d.octets(size))
		if err != nil {
			return nil, 0, err
		}
		towers = append(towers, t)
	}
	status := d.uint32()
	if !d.done() {
		return nil, 0, errMapReply
	}
	return towers, status, nil
}

// port asks the DC's endpoint mapper, unless NETLOGON's port is configured.
func (c *Config) port(ctx context.Context, s syntax) (uint16, error) {
	if c.Port != 0 && s == netlogonInterface {
		return c.Port, nil
	}
	p, err := bindPlain(ctx, c, mapperPort, &mapperInterface)
	if err != nil {
		return 0, fmt.Errorf("ask the endpoint mapper: %w", err)
	}
	defer p.close()
	port, err := mapPort(p, &s)
	if err != nil {
		return 0, fmt.Errorf("ask the endpoint mapper: %w", ended(ctx, err))
	}
	return port, nil
}

func mapPort(c caller, s *syntax) (uint16, error) {
	reply, err := c.call(opMap, mapRequest(towerOf(s, 0)))
	if err != nil {
		return 0, err
	}
	towers, status, err := parseMapReply(reply)
	if err != nil {
		return 0, err
	}
	// Asked for one interface, some servers list others too.
	for _, t := range towers {
		if port, ok := t.port(s); ok {
			return port, nil
		}
	}
	if status != 0 && status != mapperNotRegistered {
		return 0, fmt.Errorf("%w (status 0x%08X)", errNotRegistered, status)
	}
	return 0, errNotRegistered
}
