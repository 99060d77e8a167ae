package main

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// enrolled is what mfa enroll prints for programs.
type enrolled struct {
	User        string
	Token       mfa.Token
	Secret, URL string
}

type tokenRow struct {
	User string
	mfa.Token
}

// open opens the site's store beside the tool.
func (s *site) open(t *testing.T, f func(cfg *config.Service, st store.Store)) {
	t.Helper()
	cfg, err := config.LoadService(s.path("radiusd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := service.OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	f(cfg, st)
}

// code asks the service's verifier whether a code of a secret opens a login.
func (s *site) code(t *testing.T, user, secret string) (r mfa.Result) {
	t.Helper()
	s.open(t, func(cfg *config.Service, st store.Store) {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		code, err := totp.GenerateCode(secret, now)
		if err != nil {
			t.Fatal(err)
		}
		v := service.NewVerifier(cfg, st, ring)
		if r, err = v.Verify(t.Context(), now, user, code); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

func TestEnroll(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "Alice")
	s.fails(t, "", "bob: no such user", "mfa", "enroll", "bob")

	out := s.must(t, "", "mfa", "enroll", "ALICE", "--label", "her phone")
	i := strings.Index(out, "otpauth://")
	if i < 0 {
		t.Fatalf("no URL:\n%s", out)
	}
	text, _, _ := strings.Cut(out[i:], "\n")
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	secret := u.Query().Get("secret")
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Postern:alice" || u.Query().Get("issuer") != "Postern" || len(secret) != 32 {
		t.Errorf("URL %s", text)
	}
	qr, err := mfa.DrawQR(text, false)
	if err != nil || !strings.HasPrefix(out, qr) {
		t.Errorf("no QR code of the URL:\n%s", out)
	}
	if !strings.Contains(out, "secret  "+secret+"\n") || !strings.Contains(out, "login   ALICE+123456\n") {
		t.Errorf("what a person needs is missing:\n%s", out)
	}
	if r := s.code(t, "alice", secret); r.Outcome != mfa.OK {
		t.Errorf("the first code: %v", r.Outcome)
	}

	s.fails(t, "", "alice has a token already: --replace takes it away, --add keeps it beside the new one", "mfa", "enroll", "alice")
	s.fails(t, "", "were all set", "mfa", "enroll", "alice", "--add", "--replace")
	var second enrolled
	s.asked(t, &second, "mfa", "enroll", "alice", "--add")
	if second.User != "alice" || second.Secret == secret || second.Token.Digits != 6 || second.Token.Period != 30 || !strings.Contains(second.URL, second.Secret) {
		t.Errorf("%+v", second)
	}

	var list []tokenRow
	s.asked(t, &list, "mfa", "list")
	if len(list) != 2 || list[0].User != "alice" || list[0].Label != "her phone" || list[1].ID != second.Token.ID {
		t.Errorf("%+v", list)
	}
	for _, args := range [][]string{{"mfa", "list"}, {"mfa", "ls", "alice"}, {"-o", "json", "mfa", "list", "ALICE"}} {
		out := s.must(t, "", args...)
		if !strings.Contains(out, list[0].ID) || !strings.Contains(out, list[1].ID) {
			t.Errorf("%v:\n%s", args, out)
		}
		if strings.Contains(out, secret) || strings.Contains(out, second.Secret) || strings.Contains(out, "v1.") {
			t.Errorf("%v shows a secret:\n%s", args, out)
		}
	}

	var third enrolled
	s.asked(t, &third, "mfa", "enroll", "alice", "--replace")
	list = nil
	if s.asked(t, &list, "mfa", "list", "alice"); len(list) != 1 || list[0].ID != third.Token.ID {
		t.Errorf("--replace left %+v", list)
	}
	for range 4 {
		s.must(t, "", "mfa", "enroll", "alice", "--add")
	}
	s.fails(t, "", "too many tokens", "mfa", "enroll", "alice", "--add")
	s.must(t, "", "mfa", "enroll", "alice", "--replace") // also from the limit
	list = nil
	if s.asked(t, &list, "mfa", "list", "alice"); len(list) != 1 {
		t.Errorf("--replace left %+v", list)
	}
}

func TestRemoveTokens(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	var one, two enrolled
	s.asked(t, &one, "mfa", "enroll", "alice")
	s.asked(t, &two, "mfa", "enroll", "alice", "--add")
	for _, args := range []string{"mfa remove alice", "mfa remove --all alice " + one.Token.ID} {
		s.fails(t, "", "give a token or a key (see `postern mfa show`), or --all", strings.Fields(args)...)
	}
	s.fails(t, "", "no such token", "mfa", "remove", "alice", "nonsense")
	if out := s.must(t, "", "mfa", "remove", "alice", one.Token.ID); out != "token "+one.Token.ID+" of alice removed\n" {
		t.Error(out)
	}
	if r := s.code(t, "alice", one.Secret); r.Outcome != mfa.Wrong {
		t.Errorf("a code of the removed token: %v", r.Outcome)
	}
	if r := s.code(t, "alice", two.Secret); r.Outcome != mfa.OK {
		t.Errorf("a code of the other: %v", r.Outcome)
	}
	var said struct{ User, Done string }
	if s.asked(t, &said, "mfa", "rm", "--all", "Alice"); said.User != "alice" || said.Done != "removed all" {
		t.Errorf("%+v", said)
	}
	if r := s.code(t, "alice", two.Secret); r.Outcome != mfa.NotEnrolled {
		t.Errorf("after --all: %v", r.Outcome)
	}
	if out := s.must(t, "", "-o", "json", "mfa", "list"); strings.TrimSpace(out) != "[]" {
		t.Errorf("none is %s", out)
	}
	// Somebody who left the users file may still have one.
	s.asked(t, &one, "mfa", "enroll", "alice")
	s.must(t, "", "user", "del", "alice")
	s.must(t, "", "mfa", "remove", "--all", "alice")
	if r := s.code(t, "alice", one.Secret); r.Outcome != mfa.NotEnrolled {
		t.Errorf("after the end of the account: %v", r.Outcome)
	}
}

// However a name is typed, the token is that person's and nobody else's.
func TestTokensOfRealms(t *testing.T) {
	s := withRealms(t)
	names := map[string][]string{
		"alice@corp.example": {"alice", "ALICE@corp.example", `CORP\Alice`, "alice+123456"},
		"alice@plant":        {"alice@plant", `plant\ALICE`},
		"alice@old.example":  {`OLD\alice`},
		"alice@pppd":         {"alice@PPPD"},
	}
	for canonical, typed := range names {
		var e enrolled
		s.asked(t, &e, "mfa", "enroll", typed[len(typed)-1])
		if e.User != canonical {
			t.Errorf("%s is %s", typed[len(typed)-1], e.User)
		}
		for _, name := range typed {
			var list []tokenRow
			if s.asked(t, &list, "mfa", "list", name); len(list) != 1 || list[0].User != canonical || list[0].ID != e.Token.ID {
				t.Errorf("%s: %+v, want the token of %s", name, list, canonical)
			}
		}
	}
	var all []tokenRow
	s.asked(t, &all, "mfa", "list")
	var users []string
	for _, r := range all {
		users = append(users, r.User)
	}
	if want := []string{"alice@corp.example", "alice@old.example", "alice@plant", "alice@pppd"}; !slices.Equal(users, want) {
		t.Errorf("all are %q, want %q", users, want)
	}
	if out := s.must(t, "", "mfa", "enroll", "--replace", `CORP\alice`); !strings.Contains(out, `login   CORP\alice+123456`) {
		t.Errorf("how to log in:\n%s", out)
	}
	s.fails(t, "", "alice@elsewhere: no such user", "mfa", "enroll", "alice@elsewhere")
	s.must(t, "", "mfa", "remove", "--all", "alice@plant")
	for name, left := range map[string]int{"alice": 1, "alice@plant": 0, `OLD\alice`: 1} {
		var list []tokenRow
		if s.asked(t, &list, "mfa", "list", name); len(list) != left {
			t.Errorf("%s has %d tokens, want %d", name, len(list), left)
		}
	}
}

func TestShellCompletion(t *testing.T) {
	s := withRealms(t)
	s.must(t, "x", "user", "add", "Alfred@plant")
	for args, want := range map[string]string{
		"mfa enroll al":           "alice alice@plant Alfred@plant",
		"mfa enroll alice@":       "alice@plant",
		"lockout show AL":         "alice alice@plant Alfred@plant",
		"session list --user alf": "Alfred@plant",
		`mfa list OL`:             `OLD\alice`,
		"user --realm plant del ": "alice@plant Alfred@plant",
		"-o ":                     "table json",
		"mfa remove alice ":       "",
	} {
		out, _, err := s.run("", append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		got, _, _ := strings.Cut(out, ":")
		g, w := strings.Fields(got), strings.Fields(want)
		slices.Sort(g)
		slices.Sort(w)
		if !slices.Equal(g, w) {
			t.Errorf("%s: %q, want %q", args, g, w)
		}
	}
	if out, _, err := run("", "__complete", "--config", "/nonexistent/x.yaml", "mfa", "list", ""); err != nil || strings.Contains(out, "nonexistent") {
		t.Errorf("without a configuration: %s %v", out, err)
	}
}
