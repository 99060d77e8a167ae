package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/service"
	"postern/cmd/internal/swarm"
	"postern/internal/config"
)

// serve runs the site's service in this process and returns the flags that find it.
func (s *site) serve(t *testing.T) []string {
	t.Helper()
	auth, acct := cmdtest.FreeUDP(t), cmdtest.FreeUDP(t)
	s.write(t, "radiusd.yaml", strings.Replace(siteConfig, `auth_listen: "127.0.0.1:1812"`, fmt.Sprintf("auth_listen: %q, acct_listen: %q", auth, acct), 1)+"audit: {file: audit.json}\n")
	cfg, err := config.LoadService(s.path("radiusd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	svc, err := service.New(cfg, service.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	if err := svc.Start(); err != nil {
		t.Fatal(err)
	}
	return []string{"--server", auth, "--acct", acct, "--secret-file", s.path("secret")}
}

func TestSwarmUsers(t *testing.T) {
	s := newSite(t)
	s.must(t, "correct horse", "user", "add", "alice")
	before := s.read(t, "users")
	file := s.path("swarm.csv")
	out := s.must(t, "", "swarm", "users", file, "-n", "30", "--pattern", "load-%02d", "-g", "Plant-Devices")
	if !strings.Contains(out, "30 users made, from load-01 to load-30") {
		t.Error(out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	users, err := swarm.ReadUsers(file)
	if err != nil || len(users) != 30 || users[29].Name != "load-30" {
		t.Fatalf("%v, %v", users, err)
	}
	var list []userJSON
	if s.asked(t, &list, "user", "list"); len(list) != 31 || list[1].Groups[0] != "Plant-Devices" || !list[1].Password {
		t.Errorf("%+v", list)
	}
	s.fails(t, "", "swarm.csv is there already", "swarm", "users", file)
	s.fails(t, "", "user exists already", "swarm", "users", s.path("other.csv"), "--pattern", "load-%02d")
	if _, err := os.Stat(s.path("other.csv")); err == nil {
		t.Error("a file of users that were not made")
	}
	s.fails(t, "", "pattern", "swarm", "users", s.path("other.csv"), "--pattern", "load")
	s.fails(t, "", "--totp", "swarm", "users", s.path("other.csv"), "--file-only", "--totp")
	// Undone where the file cannot be written, and where there is no place for tokens.
	s.fails(t, "", "no such file", "swarm", "users", s.path("no/where.csv"), "--pattern", "x-%d")
	if s.asked(t, &list, "user", "list"); len(list) != 31 {
		t.Errorf("%d users", len(list))
	}
	if out := s.must(t, "", "swarm", "users", file, "--remove"); !strings.Contains(out, "30 users removed") || s.read(t, "users") != before {
		t.Errorf("%s\n%s", out, s.read(t, "users"))
	}
	s.fails(t, "", "no such file", "swarm", "users", file, "--remove")

	only, _, err := run("", "swarm", "users", file, "--file-only", "-n", "2") // no configuration is read
	if err != nil || !strings.Contains(only, "2 users made, from swarm-00001 to swarm-00002") {
		t.Errorf("%s %v", only, err)
	}
}

// Accounts with tokens are made, log in with real codes by UDP, each session is
// reported, and nothing is left of them.
func TestSwarmRadius(t *testing.T) {
	s := newSite(t)
	coded, plain := s.path("coded.csv"), s.path("plain.csv")
	s.must(t, "", "swarm", "users", coded, "-n", "4", "-g", "VPN-Users", "--totp")
	s.must(t, "", "swarm", "users", plain, "-n", "10", "--pattern", "plant%d", "-g", "Plant-Devices")
	s.write(t, "nobody.csv", "user,password\nnobody,at all\n")
	args := append([]string{"swarm", "radius", "--timeout", "5s"}, s.serve(t)...)
	with := func(more ...string) []string { return append(args[:len(args):len(args)], more...) }

	var res swarm.Result
	s.asked(t, &res, with("-q", "--users", coded, "--count", "4", "--json", s.path("result.json"))...)
	if res.Accepted != 4 || res.Started != 4 || res.Mode != "radius" || res.Users != 4 {
		t.Errorf("%+v", res)
	}
	var kept swarm.Result
	if err := json.Unmarshal([]byte(s.read(t, "result.json")), &kept); err != nil || kept.Accepted != 4 || len(kept.Steps) != 1 || kept.Steps[0].Step != "access" {
		t.Errorf("%+v, %v", kept, err)
	}
	out := s.must(t, "", with("--users", plain, "--count", "20", "--accounting", "--nodes", "2")...)
	for _, words := range []string{"20 logins in", "20 accepted", "0 refused", "0 wrong results", "access", "start", "stop", "service 127.0.0.1:"} {
		if !strings.Contains(out, words) {
			t.Errorf("no %q in\n%s", words, out)
		}
	}

	ends := func(want exitStatus, words string, args ...string) {
		t.Helper()
		out, errs, err := s.run("", args...)
		var status exitStatus
		if !errors.As(err, &status) || status != want || !strings.Contains(out, words) {
			t.Errorf("%q: %v, want status %d and %q\n%s%s", args, err, want, words, out, errs)
		}
	}
	ends(swarmShort, "1 refused", with("--users", s.path("nobody.csv"), "--count", "1")...)
	nowhere := []string{"swarm", "radius", "--server", "127.0.0.1:9", "--secret-file", s.path("secret"), "--timeout", "50ms", "--retries", "0", "--users", plain}
	ends(swarmShort, "2 without an answer", append(nowhere, "--count", "2")...)

	_, errs, err := s.run("", append(nowhere[:len(nowhere)-1:len(nowhere)-1], coded, "--rate", "50", "--count", "1")...)
	if err == nil || !strings.Contains(errs, "4 users with codes make 0.1 logins/s at most") {
		t.Errorf("%v\n%s", err, errs)
	}
}

func TestSwarmMistakes(t *testing.T) {
	s := newSite(t)
	s.write(t, "u.csv", "alice,x\n")
	if err := os.WriteFile(s.path("open.csv"), []byte("alice,hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	users := []string{"--users", s.path("u.csv")}
	for _, c := range []struct {
		words string
		args  string
	}{
		{"chmod 600", "radius --server x --users OPEN"},
		{"chmod 600", "pptp --server x --users OPEN"},
		{"--tolerate", "radius --server x --tolerate 101"},
		{`required flag(s) "server"`, "radius"},
		{`required flag(s) "server"`, "pptp"},
		{"give --secret-file, or --radsec", "radius --server x"},
		{"go with --radsec", "radius --server x --ca y --secret-file SECRET"},
		{"--radsec needs", "radius --server x --radsec --ca y"},
		{"--acct: 1 of them for 2", "radius --server x,y --acct z --secret-file SECRET"},
		{"no such port", "radius --server x:0 --secret-file SECRET"},
		{"--sources", "radius --server x --secret-file SECRET --sources y"},
		{"sessions are held only with accounting", "radius --server 127.0.0.1 --secret-file SECRET --hold 1s"},
		{"server", "pptp --server 192.0.2.1:x"},
		{"--local", "pptp --server 192.0.2.1 --local x"},
		{"--codes", "pptp --server 192.0.2.1 --codes x"},
		{"--ping", "pptp --server 192.0.2.1 --ping x"},
		{"want a rate", "pptp --server 192.0.2.1 --traffic 10"},
		{"each client needs a user", "pptp --server 192.0.2.1 --clients 2"},
	} {
		args := append([]string{"swarm"}, strings.Fields(strings.NewReplacer("OPEN", s.path("open.csv"), "SECRET", s.path("secret")).Replace(c.args))...)
		if !strings.Contains(c.args, "--users") {
			args = append(args, users...)
		}
		s.fails(t, "", c.words, args...)
	}
}

func TestBitRate(t *testing.T) {
	for in, want := range map[string]string{
		"10kbit": "10kbit", "1.5Mbit": "1500kbit", "300bit": "300bit", "1gbit": "1gbit", "0": "0",
		"10": "!", "kbit": "!", "-1kbit": "!", "0.1bit": "!", "100gbit": "!", "NaNbit": "!",
	} {
		var r bitRate
		err := r.Set(in)
		if (err != nil) != (want == "!") || err == nil && r.String() != want {
			t.Errorf("%s became %s, %v", in, r.String(), err)
		}
	}
}
