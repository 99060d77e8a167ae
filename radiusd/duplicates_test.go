package radiusd

import (
	"net/netip"
	"testing"
	"time"

	"postern/internal/radius"
)

func TestDuplicates(t *testing.T) {
	var d duplicates
	now := time.Unix(1000, 0)
	r := fingerprint{from: netip.MustParseAddrPort("192.0.2.1:1000"), via: radius.UDP, code: 1, id: 7, auth: [16]byte{1, 2, 3}}
	expect := func(about string, r fingerprint, want seen) []byte {
		t.Helper()
		reply, got := d.begin(now, r)
		if got != want {
			t.Errorf("%s: %d, want %d", about, got, want)
		}
		return reply
	}
	expect("first", r, seenNever)
	expect("in work", r, seenInWork)
	d.finish(now, r, []byte("reply"))
	if reply := expect("answered", r, seenAnswered); string(reply) != "reply" {
		t.Errorf("reply %q", reply)
	}
	for about, other := range map[string]func(*fingerprint){
		"address":       func(r *fingerprint) { r.from = netip.MustParseAddrPort("192.0.2.2:1000") },
		"port":          func(r *fingerprint) { r.from = netip.MustParseAddrPort("192.0.2.1:1001") },
		"code":          func(r *fingerprint) { r.code = 4 },
		"identifier":    func(r *fingerprint) { r.id = 8 },
		"authenticator": func(r *fingerprint) { r.auth[15] = 1 },
		"connection":    func(r *fingerprint) { r.space = 1 },
		"transport":     func(r *fingerprint) { r.via = radius.RadSec },
	} {
		r := r
		other(&r)
		expect("another "+about, r, seenNever)
		d.finish(now, r, nil)
		expect("another "+about+", left without an answer", r, seenNever)
	}
	now = now.Add(keepReplies - 1)
	expect("just before the end", r, seenAnswered)
	now = now.Add(1)
	expect("after the end", r, seenNever)
	d.finish(now, r, []byte("second"))
	if reply := expect("answered again", r, seenAnswered); string(reply) != "second" {
		t.Errorf("reply %q", reply)
	}
}

// The cache is bounded: the oldest reply goes, and nothing of it stays.
func TestDuplicatesBounded(t *testing.T) {
	var d duplicates
	now := time.Unix(1000, 0)
	const extra = 3000
	name := func(i int) fingerprint { // all in one shard
		return fingerprint{auth: [16]byte{0, byte(i >> 16), byte(i >> 8), byte(i)}}
	}
	for i := range maxReplies/numShards + extra {
		if _, s := d.begin(now, name(i)); s != seenNever {
			t.Fatalf("%d: %d", i, s)
		}
		d.finish(now, name(i), []byte{1})
	}
	s := &d.shards[0]
	if len(s.replies) != maxReplies/numShards || len(s.old)-s.first != len(s.replies) {
		t.Errorf("%d replies, %d in order, want %d", len(s.replies), len(s.old)-s.first, maxReplies/numShards)
	}
	if cap(s.old) > 4*maxReplies/numShards {
		t.Errorf("room for %d", cap(s.old))
	}
	if _, seen := d.begin(now, name(extra)); seen != seenAnswered {
		t.Error("the oldest that fits was forgotten")
	}
	if _, seen := d.begin(now, name(extra-1)); seen != seenNever {
		t.Error("one too many was kept")
	}
	d.finish(now, name(extra-1), nil)
	now = now.Add(keepReplies)
	if _, seen := d.begin(now, name(0)); seen != seenNever || len(s.replies) != 1 || len(s.old) != s.first {
		t.Errorf("after their time: %d replies, %d in order", len(s.replies), len(s.old)-s.first)
	}
}
