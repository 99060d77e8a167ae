package service

import (
	"path/filepath"
	"strings"
	"testing"

	"postern/authz/directory"
	"postern/cmd/internal/cmdtest"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
)

// realms is site with two realms of files in place of one, each with a user plant.
func realms(t *testing.T) *config.Service {
	t.Helper()
	cfg := site(t)
	dir := filepath.Dir(string(cfg.Policy))
	ring, err := seal.ReadFile(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	other := &directory.Users{Path: filepath.Join(dir, "other"), Ring: ring}
	if err := other.Add(directory.User{Name: "plant", Groups: []string{"Plant-Devices"}}, "another password"); err != nil {
		t.Fatal(err)
	}
	cfg.Realms = []config.Realm{
		{Name: "corp", Kind: config.RealmFile, Default: true, Domain: "corp.example", NetBIOS: "CORP", File: config.FileRealm{Users: cfg.Users}},
		{Name: "other", Kind: config.RealmFile, File: config.FileRealm{Users: config.File(other.Path)}},
	}
	cfg.Users = ""
	return cfg
}

// Two people of one name in two realms are two people.
func TestRealms(t *testing.T) {
	cfg := realms(t)
	s, c := start(t, cfg, Options{})
	for i, tt := range []struct {
		name, password string
		want           radius.Code
	}{
		{"plant", cmdtest.Password, radius.CodeAccessAccept},
		{`CORP\PLANT`, cmdtest.Password, radius.CodeAccessAccept},
		{"Plant@corp.example", cmdtest.Password, radius.CodeAccessAccept},
		{"plant@other", "another password", radius.CodeAccessAccept},
		{`other\plant`, "another password", radius.CodeAccessAccept},
		{"plant", "another password", radius.CodeAccessReject},
		{"plant@other", cmdtest.Password, radius.CodeAccessReject},
		{"plant@elsewhere", cmdtest.Password, radius.CodeAccessReject},
	} {
		cmdtest.Expect(t, c, tt.name, tt.password, "s"+string(rune('0'+i)), tt.want)
	}
	for user, want := range map[string]int{"plant@corp.example": 3, "plant@other": 2, "plant": 0} {
		all, err := s.Sessions().ByUser(t.Context(), user)
		if err != nil || len(all) != want {
			t.Errorf("%s has the sessions %v, want %d: %v", user, all, want, err)
		}
	}
	if s.directory.Len() != 2 {
		t.Errorf("%d accounts", s.directory.Len())
	}
	if err := s.directory.Reload(); err != nil {
		t.Error(err)
	}
}

func TestRealmsFail(t *testing.T) {
	for want, spoil := range map[string]func(*config.Service){
		"realm other":         func(c *config.Service) { c.Realms[1].File.Users = "/nonexistent" },
		`both want corp\NAME`: func(c *config.Service) { c.Realms[1].NetBIOS = "corp" },
	} {
		cfg := realms(t)
		spoil(cfg)
		if _, err := New(cfg, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
