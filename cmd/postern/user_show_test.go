package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
)

func TestUserShow(t *testing.T) {
	s := newSite(t)
	s.must(t, "correct horse\n", "user", "add", "Alice", "-g", "VPN-Users", "--address", "10.20.0.7")
	s.must(t, "correct horse\n", "user", "add", "bob", "--disabled")
	var a accountJSON
	s.asked(t, &a, "user", "show", `CORP\ALICE+123456`) // as somebody typed it
	if a.Name != "alice" || a.State != "active" || !slices.Equal(a.Groups, []string{"VPN-Users"}) || a.Address.String() != "10.20.0.7" {
		t.Errorf("%+v", a)
	}
	if out := s.must(t, "", "user", "show", "bob"); !strings.Contains(out, "disabled") || strings.Contains(out, "SID") {
		t.Error(out)
	}
	if _, _, err := s.run("", "user", "show", "nobody"); err == nil || !strings.Contains(err.Error(), "nobody: ") {
		t.Errorf("nobody: %v", err)
	}
}

func TestShowAccount(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var out strings.Builder
	c := &cli{out: &out, output: "table"}
	err := c.showAccount(&directory.Account{
		Name: "alice@corp.example", Realm: "corp", SID: "S-1-5-21-1-2-3-1104", Ref: "CN=Alice\x1b[2J", State: directory.PasswordExpired,
		PasswordSet: now.AddDate(0, 0, -50), PasswordExpires: now.AddDate(0, 0, -8),
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"S-1-5-21-1-2-3-1104", "password expired", "8 days ago", "CN=Alice?[2J"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if got := expiry(now.AddDate(0, 0, 3), now); !strings.HasSuffix(got, "in 3 days") {
		t.Error(got)
	}
}
