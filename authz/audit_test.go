package authz

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
)

// TestAuditLine: one line of JSON for each decision, and no secret in it.
func TestAuditLine(t *testing.T) {
	w := newWorld(t)
	code := w.code(t, "alice", 0)
	r := w.request(`CORP\alice+`+code, password("alice"))
	res := w.login(t, Permitted, r)
	w.login(t, WrongPassword, w.request("alice+"+code, "guess"))
	pap := w.pap("alice", "papsecret")
	w.login(t, WrongPassword, pap)
	text := w.audit.String()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), text)
	}
	p, _ := w.Policy()
	version := p.Version()
	var got map[string]any
	must(t, json.Unmarshal([]byte(lines[0]), &got))
	for k, want := range map[string]any{
		"msg": "login", "decision": res.DecisionID, "verdict": "accept", "reason": "permitted", "user": "alice",
		"typed": `CORP\alice`, "source": "198.51.100.7", "nas": "gw1", "nas_address": "192.0.2.10", "session": r.SessionID,
		"tunnel": "PPTP", "method": "mschapv2", "factor": "code", "rule": "staff", "policy": version, "locked": "none",
		"pool": "staff", "address": "10.20.0.1", "at": w.now.UTC().Format("2006-01-02T15:04:05Z"),
	} {
		if got[k] != want {
			t.Errorf("%s: %v, want %v", k, got[k], want)
		}
	}
	for _, k := range []string{"took", "took_load", "took_directory", "took_commit"} {
		if v, ok := got[k].(float64); !ok || v < 0 {
			t.Errorf("%s: %v", k, got[k])
		}
	}
	for _, secret := range []string{
		code, password("alice"), "guess", "papsecret",
		hex.EncodeToString(r.MSCHAPv2.Response[:]), string(r.MSCHAPv2.Response[:]), res.Success,
		hex.EncodeToString(res.SendKey[:]), string(res.SendKey[:]),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("%q is in the audit log:\n%s", secret, text)
		}
	}
}

// TestAuditIsOneLine: what outsiders write stays inside its quotes.
func TestAuditIsOneLine(t *testing.T) {
	var b bytes.Buffer
	NewAudit(&b).Decision(&Record{Typed: "a\n{\"verdict\":\"accept\"}", SessionID: "x\r\ny"})
	if strings.Count(b.String(), "\n") != 1 || strings.Contains(b.String(), "\r") {
		t.Errorf("%q", b.String())
	}
}
