package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/session"
)

// One line for each session that was ended, with what links it to its login.
func TestEndedLine(t *testing.T) {
	var b bytes.Buffer
	at := time.Date(2026, 3, 1, 8, 0, 3, 0, time.UTC)
	NewAudit(&b).SessionEnded(&Ended{
		Time: at, Asked: at.Add(-3 * time.Second), Reason: AccountDisabled.String(), Detail: "account disabled", Rule: "staff", Policy: "v1",
		Answer: NASRefused, Err: errors.New("no\nnewline"),
		Session: session.Record{
			Node: "gw1", Acct: "s1", User: "alice", SID: "S-1-5", Source: home, Addr: netip.MustParseAddr("10.0.0.1"), Decision: "d1", Opened: at.Add(-time.Hour),
		},
	})
	if strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%q", b.String())
	}
	var got map[string]any
	must(t, json.Unmarshal(b.Bytes(), &got))
	for k, want := range map[string]any{
		"msg": "session ended", "at": "2026-03-01T08:00:03Z", "opened": "2026-03-01T07:00:03Z", "took": 3e9, "decision": "d1", "reason": "account disabled",
		"detail": "account disabled", "answer": "refused", "user": "alice", "sid": "S-1-5", "source": "198.51.100.7", "nas": "gw1", "session": "s1",
		"rule": "staff", "policy": "v1", "address": "10.0.0.1", "error": "no\nnewline",
	} {
		if got[k] != want {
			t.Errorf("%s: %v, want %v", k, got[k], want)
		}
	}
	for a := NASUnknown; a <= NASNoAnswer+1; a++ {
		if a.String() == "" {
			t.Error(a)
		}
	}
}
