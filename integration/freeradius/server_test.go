package freeradius

import (
	"context"
	"errors"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
)

// ask sends a password and returns the reply, nil where there was none in time.
func ask(t *testing.T, server radius.Server, name, password string, patience time.Duration) *radius.Packet {
	t.Helper()
	c, err := radius.NewClient(radius.ClientConfig{Name: "harness", Servers: []radius.Server{server}, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret("any"))
	_ = rfc2865.UserName_AddString(q, name)
	_ = rfc2865.UserPassword_AddString(q, password)
	reply, err := c.Exchange(context.Background(), q)
	if err != nil {
		if !errors.Is(err, radius.ErrNoAnswer) {
			t.Fatal(err)
		}
		return nil
	}
	return reply
}

func (s *Server) udp() radius.Server {
	return radius.Server{Name: "udp", Network: "udp", Addr: s.Addr, Secret: radius.NewSecret(s.Secret)}
}

func TestServer(t *testing.T) {
	s := Start(t, Options{TLS: true})
	t.Logf("%s at %s, RadSec at %s", Version(t), s.Addr, s.TLSAddr)
	for _, u := range users {
		want := radius.CodeAccessAccept
		switch u.name {
		case "hours", "nodialin", "hashed": // it cannot make a hash of what is sent
			want = radius.CodeAccessReject
		case "challenged":
			want = radius.CodeAccessChallenge
		}
		if got := ask(t, s.udp(), u.name, Password(u.name), 5*time.Second); got == nil || got.Code != want {
			t.Errorf("%s: %+v, want %v", u.name, got, want)
		}
	}
	for _, name := range []string{"ALICE", `LAB\alice`, "alice@lab.example"} {
		if got := ask(t, s.udp(), name, Password("alice"), 5*time.Second); got == nil || got.Code != radius.CodeAccessAccept {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := ask(t, s.udp(), "alice", "wrong", 5*time.Second); got == nil || got.Code != radius.CodeAccessReject {
		t.Errorf("wrong password: %+v", got)
	}
	if got := ask(t, s.udp(), "alice+123456", Password("alice"), 5*time.Second); got == nil || got.Code != radius.CodeAccessReject {
		t.Errorf("a name with a code: %+v", got)
	}
	radsec := radius.Server{Name: "radsec", Network: "radsec", Addr: s.TLSAddr, TLS: s.Client}
	if got := ask(t, radsec, "alice", Password("alice"), 5*time.Second); got == nil || got.Code != radius.CodeAccessAccept {
		t.Errorf("over RadSec: %+v", got)
	}
}

func TestFreezeKillRestart(t *testing.T) {
	s := Start(t, Options{})
	answers := func() bool { return ask(t, s.udp(), "bob", Password("bob"), 300*time.Millisecond) != nil }
	s.Freeze()
	if answers() {
		t.Error("it answers though it is frozen")
	}
	s.Resume()
	s.Kill()
	if answers() {
		t.Error("it answers though it was killed")
	}
	s.Restart(t)
	if got := ask(t, s.udp(), "bob", Password("bob"), 5*time.Second); got == nil {
		t.Error("it does not answer after a new start")
	}
}

func TestOptions(t *testing.T) {
	unsigned := Start(t, Options{Unsigned: true, KnowsCodes: true})
	if Version(t) == "FreeRADIUS Version 3.2.1" && ask(t, unsigned.udp(), "alice", Password("alice"), 300*time.Millisecond) != nil {
		t.Error("an unsigned reply was believed")
	}
	knows := Start(t, Options{KnowsCodes: true})
	if got := ask(t, knows.udp(), "alice+123456", Password("alice"), 5*time.Second); got == nil || got.Code != radius.CodeAccessAccept {
		t.Errorf("a name with a code: %+v", got)
	}
}
