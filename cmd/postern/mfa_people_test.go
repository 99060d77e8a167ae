package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/grant"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

// remembered gives a user a remembered factor, as a login would.
func (s *site) remembered(t *testing.T, user string, from netip.Addr) {
	t.Helper()
	s.open(t, func(_ *config.Service, st store.Store) {
		q, clock := grant.Ask(user), &store.Time{}
		if err := st.Do(t.Context(), append(q.Seqs(), store.Seq{clock})...); err != nil {
			t.Fatal(err)
		}
		w, err := q.Give(clock.Now, &grant.Place{Source: from, Remember: policy.Remember{For: time.Hour}}, "code", "D1")
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Do(t.Context(), w.Seqs()...); err != nil || !w.OK() {
			t.Fatal(err, w.OK())
		}
	})
}

func TestTicketsRecoveryAndReset(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	for _, command := range []string{"ticket", "recovery"} {
		s.fails(t, "", "bob: no such user", "mfa", command, "bob")
	}
	var k struct {
		User, ID, Code, Link string
		Until                time.Time
	}
	s.asked(t, &k, "mfa", "ticket", "ALICE", "--for", "2h")
	if k.User != "alice" || len(k.Code) != 29 || k.Link != "" || time.Until(k.Until) > 2*time.Hour || time.Until(k.Until) < time.Hour {
		t.Errorf("%+v", k)
	}
	s.fails(t, "", "of at most 720h", "mfa", "ticket", "alice", "--for", "10000h")
	s.write(t, "radiusd.yaml", s.read(t, "radiusd.yaml")+"portal: {url: https://portal.example.org}\n")
	if out := s.must(t, "", "mfa", "ticket", "alice"); !strings.Contains(out, "https://portal.example.org/enrol?ticket=") {
		t.Error(out)
	}
	var r struct {
		User  string
		Codes []string
	}
	if s.asked(t, &r, "mfa", "recovery", "alice"); r.User != "alice" || len(r.Codes) != 10 {
		t.Errorf("%+v", r)
	}
	s.must(t, "", "mfa", "enroll", "alice", "--label", "phone")
	s.remembered(t, "alice", netip.MustParseAddr("192.0.2.7"))
	s.remembered(t, "alice", netip.MustParseAddr("192.0.2.8"))

	var h having
	s.asked(t, &h, "mfa", "show", "Alice")
	if h.User != "alice" || len(h.Tokens) != 1 || h.Recovery != 10 || len(h.Tickets) != 2 || len(h.Grants) != 2 || len(h.Keys) != 0 {
		t.Fatalf("%+v", h)
	}
	out := s.must(t, "", "mfa", "show", "alice") + s.must(t, "", "-o", "json", "mfa", "show", "alice")
	for _, secret := range append(r.Codes, k.Code, k.Code[10:]) {
		if strings.Contains(out, secret) {
			t.Errorf("shows %q:\n%s", secret, out)
		}
	}
	for _, part := range []string{h.Tokens[0].ID, "10 left", h.Tickets[0].ID, "192.0.2.7/32"} {
		if !strings.Contains(out, part) {
			t.Errorf("does not show %q:\n%s", part, out)
		}
	}

	s.must(t, "", "mfa", "ticket", "alice", "--revoke", k.ID)
	s.fails(t, "", "no such ticket", "mfa", "ticket", "alice", "--revoke", k.ID)

	var grants []grantRow
	if s.asked(t, &grants, "mfa", "grants"); len(grants) != 2 || grants[0].User != "alice" || grants[0].Factor != "code" {
		t.Errorf("%+v", grants)
	}
	s.fails(t, "", "give a grant", "mfa", "revoke", "alice")
	s.fails(t, "", "alice has no remembered factor none", "mfa", "revoke", "alice", "none")
	s.must(t, "", "mfa", "revoke", "alice", grants[0].ID)
	if s.asked(t, &grants, "mfa", "grants", "alice"); len(grants) != 1 {
		t.Errorf("%+v", grants)
	}
	// Who loses a token loses what was remembered by it.
	s.must(t, "", "mfa", "remove", "alice", h.Tokens[0].ID)
	if s.asked(t, &grants, "mfa", "grants"); len(grants) != 0 {
		t.Errorf("%+v", grants)
	}
	s.remembered(t, "alice", netip.MustParseAddr("192.0.2.9"))
	if out := s.must(t, "", "mfa", "revoke", "--all", "alice"); !strings.HasPrefix(out, "1 remembered") {
		t.Error(out)
	}

	s.must(t, "", "mfa", "enroll", "alice")
	s.remembered(t, "alice", netip.MustParseAddr("192.0.2.7"))
	s.fails(t, "", "give --yes", "mfa", "reset", "alice")
	s.must(t, "", "mfa", "reset", "--yes", "alice")
	if s.asked(t, &h, "mfa", "show", "alice"); len(h.Tokens)+len(h.Tickets)+len(h.Grants)+h.Recovery != 0 {
		t.Errorf("after reset: %+v", h)
	}
}

func TestImportTokens(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.must(t, "x", "user", "add", "bob")
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	s.write(t, "tokens.csv", "alice,"+secret+"\nbob,"+secret+",6,30,SHA1,his\ncarol,"+secret+"\nbob,short\n")
	out, errs, err := s.run("", "mfa", "import", s.path("tokens.csv"))
	if err == nil || err.Error() != "2 mistakes, and nothing is imported" || strings.Contains(out+errs, secret) ||
		!strings.Contains(errs, "line 3: carol: no such user") || !strings.Contains(errs, "line 4: ") {
		t.Errorf("%s%s%v", out, errs, err)
	}
	var list []tokenRow
	if s.asked(t, &list, "mfa", "list"); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if out := s.must(t, "", "mfa", "import", "--partial", "--dry-run", s.path("tokens.csv")); out != "2 tokens could be imported, 2 lines not; nothing was\n" {
		t.Error(out)
	}
	if out := s.must(t, "", "mfa", "import", "--partial", s.path("tokens.csv")); out != "2 tokens imported, 0 were there already, 2 lines passed over\n" {
		t.Error(out)
	}
	var said struct {
		Imported, Known, Wrong int
		Dry                    bool `json:"dry_run"`
	}
	s.write(t, "again.csv", "alice,"+secret+"\n")
	if s.asked(t, &said, "mfa", "import", s.path("again.csv")); said.Imported != 0 || said.Known != 1 || said.Wrong != 0 || said.Dry {
		t.Errorf("%+v", said)
	}
	if out := s.must(t, "bob,"+secret+"\n", "mfa", "import", "-"); out != "0 tokens imported, 1 were there already, 0 lines passed over\n" {
		t.Error(out)
	}
	if r := s.code(t, "alice", secret); r.Outcome != mfa.OK {
		t.Errorf("%+v", r)
	}
	s.fails(t, "", "no such file", "mfa", "import", s.path("gone"))
}

func TestRekey(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	s.must(t, "x", "user", "add", "bob")
	s.must(t, "", "mfa", "enroll", "alice")
	s.must(t, "", "mfa", "enroll", "bob")
	s.must(t, "", "mfa", "recovery", "bob")
	s.must(t, "", "keyring", "rotate")
	for _, want := range []rekeyed{{2, 2, 1}, {2, 0, 1}} {
		var got rekeyed
		if s.asked(t, &got, "mfa", "rekey"); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if _, errs, err := s.run("", "mfa", "rekey", "bob"); err != nil || !strings.Contains(errs, "Recovery codes of 1 people") {
		t.Errorf("%s %v", errs, err)
	}
	s.must(t, "", "mfa", "recovery", "bob")
	var got rekeyed
	if s.asked(t, &got, "mfa", "rekey", "bob"); got != (rekeyed{1, 0, 0}) {
		t.Errorf("%+v", got)
	}
	s.open(t, func(cfg *config.Service, st store.Store) {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := service.NewVerifier(cfg, st, ring).RecoveryLeft(t.Context(), "bob"); n != 10 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestSealSeed(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	out := s.must(t, secret+"\n", "mfa", "seal", "ALICE")
	if strings.Contains(out, secret) || !strings.HasPrefix(out, "v1.") {
		t.Error(out)
	}
	s.open(t, func(cfg *config.Service, st store.Store) {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		v := service.NewVerifier(cfg, st, ring)
		for user, digits := range map[string]int{"alice": 1, "bob": 0} {
			q := v.Ask(user)
			err := v.With(q, []string{strings.TrimSpace(out)})
			if list, derr := q.Digits(); derr != nil || len(list) != digits || (err == nil) != (digits == 1) {
				t.Errorf("%s: %v, %v, %v", user, list, derr, err)
			}
		}
	})
	s.fails(t, "", "no seed on standard input", "mfa", "seal", "alice")
	s.fails(t, "nonsense!\n", "", "mfa", "seal", "alice")
	s.fails(t, secret+"\n", "bob: no such user", "mfa", "seal", "bob")
}
