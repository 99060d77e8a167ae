package radius

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"layeh.com/radius/rfc2865"
)

func TestFilterRules(t *testing.T) {
	rules := []string{
		"permit in tcp from assigned to 10.20.0.0/16 80,443,8000-8100",
		"deny in ip from assigned to 10.0.0.0/8",
		"permit out tcp from 10.20.0.5 to assigned 3389",
	}
	_, reply, got := exchanged(t, CodeAccessAccept, func(p *Packet) error { return AddFilterRules(p, rules) })
	if again, err := GetFilterRules(got); err != nil || !slices.Equal(again, rules) {
		t.Errorf("%q, %v", again, err)
	}
	// RFC 4849 §2: type 92, the length, the rules with a NUL between them.
	const want = "5c94" +
		"7065726d697420696e207463702066726f6d2061737369676e656420746f2031302e32302e302e302f31362038302c3434332c383030302d38313030" + "00" +
		"64656e7920696e2069702066726f6d2061737369676e656420746f2031302e302e302e302f38" + "00" +
		"7065726d6974206f7574207463702066726f6d2031302e32302e302e3520746f2061737369676e65642033333839"
	if s := hex.EncodeToString(reply); !strings.HasSuffix(s, want) {
		t.Errorf("on the wire %s", s)
	}
}

// Rules go on from one attribute to the next, at every length.
func TestFilterRulesOverAttributes(t *testing.T) {
	for n := 1; n <= MaxFilterRules; n += 7 {
		var rules []string
		for left := n; left > 0; {
			k := min(left, 61)
			rules = append(rules, strings.Repeat("x", k))
			left -= k + 1
		}
		p := NewRequest(CodeAccessRequest, testSecret)
		if err := AddFilterRules(p, rules); err != nil {
			t.Fatalf("%d octets: %v", n, err)
		}
		for i, a := range p.Attributes {
			if last := i == len(p.Attributes)-1; len(a.Attribute) == 0 || !last && len(a.Attribute) != maxAttrValue {
				t.Fatalf("%d octets: attribute %d of %d has %d", n, i, len(p.Attributes), len(a.Attribute))
			}
		}
		if got, err := GetFilterRules(p); err != nil || !slices.Equal(got, rules) {
			t.Fatalf("%d octets: %d rules became %d, %v", n, len(rules), len(got), err)
		}
	}
}

func TestFilterRulesRefused(t *testing.T) {
	p := NewRequest(CodeAccessRequest, testSecret)
	for _, rules := range [][]string{
		{""}, {"a", "", "b"}, {"a\x00b"}, {"a\nb"}, {"permit in ip from ä to any"}, {strings.Repeat("x", MaxFilterRules+1)},
		slices.Repeat([]string{"permit in ip from assigned to any"}, 84),
	} {
		if err := AddFilterRules(p, rules); !errors.Is(err, ErrValue) {
			t.Errorf("%.40q: %v", rules, err)
		}
	}
	if err := AddFilterRules(p, nil); err != nil || len(p.Attributes) != 0 {
		t.Errorf("no rules: %v, %d attributes", err, len(p.Attributes))
	}
	if rules, err := GetFilterRules(p); err != nil || rules != nil {
		t.Errorf("%q, %v", rules, err)
	}
	for about, values := range map[string][]string{
		"an empty rule": {"a\x00\x00b"}, "NUL at the end": {"a\x00"}, "NUL alone": {"\x00"}, "a newline": {"a\nb"}, "UTF-8": {"ä"},
		"too much": slices.Repeat([]string{strings.Repeat("x", 250)}, 12),
	} {
		p := NewRequest(CodeAccessRequest, testSecret)
		for _, v := range values {
			p.Add(typeFilterRule, Attribute(v))
		}
		if rules, err := GetFilterRules(p); !errors.Is(err, ErrValue) || rules != nil {
			t.Errorf("%s: %.40q, %v", about, rules, err)
		}
	}
}

func FuzzFilterRules(f *testing.F) {
	f.Add([]byte("permit in ip from assigned to any"), uint8(7))
	f.Add([]byte("permit in tcp from assigned to 10.20.0.0/16 80\x00deny in ip from assigned to any"), uint8(253))
	f.Add([]byte("a\x00\x00b\x00"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		p := NewRequest(CodeAccessRequest, testSecret)
		_ = rfc2865.FilterID_AddString(p, "x")
		for rest := b; len(rest) > 0; {
			n := min(len(rest), max(int(size), 1), maxAttrValue)
			p.Add(typeFilterRule, rest[:n])
			rest = rest[n:]
		}
		rules, err := GetFilterRules(p)
		if err != nil {
			return
		}
		q := NewRequest(CodeAccessRequest, testSecret)
		if err := AddFilterRules(q, rules); err != nil {
			t.Fatalf("%q: %v", rules, err)
		}
		var all []byte
		for _, a := range q.Attributes {
			all = append(all, a.Attribute...)
		}
		if string(all) != string(b) {
			t.Fatalf("%q became %q", b, all)
		}
	})
}
