package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"postern/authz/session"
	"postern/policy"
)

func TestChangedLine(t *testing.T) {
	asked := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	NewAudit(&b).SessionChanged(&Changed{
		Time: asked.Add(time.Second), Asked: asked, Reason: "stepped up", Rule: "staff", Policy: "v2", Answer: NASRefused, Err: errors.New("unsupported"),
		Change:  Change{Filter: &FilterChange{Name: "f1"}},
		Session: session.Record{Node: "gw1", Acct: "s1", User: "alice", Decision: "D1", Factor: "code", Addr: netip.MustParseAddr("10.20.0.1")},
	})
	var got map[string]any
	must(t, json.Unmarshal(b.Bytes(), &got))
	for k, want := range map[string]any{
		"msg": "session changed", "at": "2026-03-01T08:00:01Z", "decision": "D1", "reason": "stepped up", "answer": "refused", "user": "alice",
		"nas": "gw1", "session": "s1", "factor": "code", "rule": "staff", "policy": "v2", "filter": "f1", "address": "10.20.0.1",
		"quarantined": false, "error": "unsupported", "took": float64(time.Second),
	} {
		if got[k] != want {
			t.Errorf("%s: %v, want %v", k, got[k], want)
		}
	}
}

// A change waits in the store for the service that reaches the NAS.
func TestChangeKeeps(t *testing.T) {
	for _, want := range []Change{
		{}, {Session: time.Hour, Idle: time.Minute, Filter: &FilterChange{}, Bandwidth: &policy.Bandwidth{}},
		{Filter: &FilterChange{Name: "f", Rules: []string{"permit in ip from assigned to any"}}, Bandwidth: &policy.Bandwidth{Up: 1, Down: 2}},
		{Quarantine: &Quarantine{For: time.Minute, URL: "https://portal/s/x"}},
	} {
		b, err := json.Marshal(want)
		must(t, err)
		var got Change
		must(t, json.Unmarshal(b, &got))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, want %+v", b, got, want)
		}
	}
}
