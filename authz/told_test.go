package authz

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"postern/authz/session"
)

func TestToldLines(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 3, 0, time.UTC)
	rec := session.Record{
		Node: "gw1", Acct: "s1", User: "alice", Source: home, Addr: netip.MustParseAddr("10.0.0.1"), Pool: "staff", Decision: "d1", Opened: at.Add(-time.Hour),
		Usage: session.Usage{Time: time.Hour, InOctets: 1<<63 - 1, OutOctets: 5<<32 + 1, InPackets: 1 << 33, OutPackets: 3}, Cause: session.LostCarrier, Disconnect: 8,
	}
	for kind, want := range map[session.EventKind]map[string]any{
		session.EventStart: {"msg": "session start", "at": "2026-03-01T08:00:03Z", "opened": "2026-03-01T07:00:03Z", "user": "alice", "nas": "gw1", "session": "s1",
			"decision": "d1", "address": "10.0.0.1", "pool": "staff", "source": "198.51.100.7", "repeated": true, "octets_in": nil, "cause": nil},
		session.EventStop: {"msg": "session stop", "user": "alice", "session": "s1", "decision": "d1", "repeated": true, "reported": false, "cause": "lost-carrier",
			"disconnect": "lcp-timeout", "lasted": json.Number("3600000000000"), "octets_in": json.Number("9223372036854775807"),
			"octets_out": json.Number("21474836481"), "packets_in": json.Number("8589934592"), "packets_out": json.Number("3")},
	} {
		var b bytes.Buffer
		NewAudit(&b).SessionTold(&session.Told{Event: session.Event{Kind: kind, At: at, Record: rec}, Repeated: true, Own: true})
		var got map[string]any
		d := json.NewDecoder(&b)
		d.UseNumber()
		must(t, d.Decode(&got))
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s %s: %v, want %v", kind, k, got[k], v)
			}
		}
	}
}
