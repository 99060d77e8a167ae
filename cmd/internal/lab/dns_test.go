package lab

import (
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func question(t *testing.T, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNameserver(t *testing.T) {
	s := &nameserver{portal: netip.MustParseAddr("10.81.0.1"), host: netip.MustParseAddr("10.81.0.2")}
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		want []string
	}{
		{portalName + ".", dnsmessage.TypeA, []string{"10.81.0.1"}},
		{"example.com.", dnsmessage.TypeA, []string{"10.81.0.2"}},
		{portalName + ".", dnsmessage.TypeAAAA, nil},
	} {
		var m dnsmessage.Message
		if err := m.Unpack(s.answer(question(t, c.name, c.kind))); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range m.Answers {
			got = append(got, netip.AddrFrom4(r.Body.(*dnsmessage.AResource).A).String())
		}
		if m.ID != 7 || !m.Response || len(got) != len(c.want) || len(got) == 1 && got[0] != c.want[0] {
			t.Errorf("%s %v: %+v", c.name, c.kind, m)
		}
	}
	// What is no question gets no answer.
	reply := s.answer(question(t, "example.com.", dnsmessage.TypeA))
	for _, b := range [][]byte{nil, {1}, make([]byte, 12), reply, question(t, "example.com.", dnsmessage.TypeA)[:20]} {
		if got := s.answer(b); got != nil {
			t.Errorf("%x answered: %x", b, got)
		}
	}
}
