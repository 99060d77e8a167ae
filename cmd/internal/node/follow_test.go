package node_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	services "postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store/redistest"
	"postern/pptp/client"
)

// followEvery is the interval of these tests, and patience what a busy machine needs
// beyond it.
const (
	followEvery = time.Second
	patience    = 15 * time.Second
)

// endedWith waits until a session was ended by the other side, which said why.
func endedWith(t *testing.T, s *client.Session, text string) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(followEvery + patience):
		t.Fatal("the session goes on")
	}
	var ended *client.EndedError
	if !errors.As(s.Err(), &ended) || ended.How != client.EndTerminated || ended.Text != text {
		t.Errorf("ended with %v, want %q", s.Err(), text)
	}
}

// goesOn checks that a session outlives a few looks at the directory.
func goesOn(t *testing.T, about string, s *client.Session) {
	t.Helper()
	select {
	case <-s.Done():
		t.Fatalf("%s, and the session ended: %v", about, s.Err())
	case <-time.After(3*followEvery + followEvery/2):
	}
}

// endings are the reasons in the audit log that sessions were ended for, oldest first.
func endings(t *testing.T, s *cmdtest.Site) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(s.Read(t, "audit.json")) {
		var l struct{ Msg, User, Reason, Answer, NAS, Policy string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "session ended" {
			all = append(all, l.User+": "+l.Reason+" ("+l.NAS+" "+l.Answer+")")
		}
	}
	return all
}

func wantEndings(t *testing.T, s *cmdtest.Site, want ...string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got := endings(t, s)
		if strings.Join(got, "\n") == strings.Join(want, "\n") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("ended: %q, want %q", got, want)
		}
	}
}

// Whoever is disabled, leaves the group, or has the policy against him loses the
// session that he has, within the interval: over the RadSec connection that the node
// has opened, for no port of the node is. The client reads why, the audit log and
// accounting have it, too.
func TestSessionsFollow(t *testing.T) {
	s := cmdtest.NewSite(t)
	s.Write(t, "radiusd.yaml", s.Read(t, "radiusd.yaml")+"follow: {interval: 1s}\n")
	radiusd := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	radiusd.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	n := start(t, load(t, s), node.Options{Deps: w.deps})
	postern := func(args ...string) {
		t.Helper()
		cmdtest.Must(t, "", "postern", append([]string{"--config", s.Radiusd}, args...)...)
	}
	dial := func() *client.Session {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			up, err := w.dial(t, "plant", cmdtest.Password)
			if err == nil {
				return up
			}
			if time.Now().After(end) { // the service sees the changed file within a second
				t.Fatal(err)
			}
		}
	}

	up := dial()
	goesOn(t, "nothing has changed", up)

	t.Log("a users file that nobody can read changes nothing")
	users := s.Read(t, "users")
	if err := os.Remove(filepath.Join(s.Dir, "users")); err != nil {
		t.Fatal(err)
	}
	goesOn(t, "the users file is gone", up)
	s.Write(t, "users", users)

	t.Log("disabled")
	postern("user", "set", "plant", "--disable")
	endedWith(t, up, "Account disabled")
	wantEndings(t, s, "plant: account disabled (gw1 done)")

	t.Log("out of the group")
	postern("user", "set", "plant", "--enable")
	up = dial()
	postern("user", "set", "plant", "--group", "Others")
	endedWith(t, up, "Access denied")
	wantEndings(t, s, "plant: account disabled (gw1 done)", "plant: no policy matched (gw1 done)")

	t.Log("against the policy")
	postern("user", "set", "plant", "--group", "Plant-Devices")
	up = dial()
	s.Edit(t, "policy.yaml", "    when: {group: Plant-Devices}\n", "    when: {group: Plant-Devices, source: 192.0.2.77}\n")
	radiusd.Signal(t, syscall.SIGHUP)
	endedWith(t, up, "Access denied")
	wantEndings(t, s, "plant: account disabled (gw1 done)", "plant: no policy matched (gw1 done)", "plant: no policy matched (gw1 done)")

	// The node's own account of it.
	for end := time.Now().Add(patience); n.Sessions() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the node has sessions")
		}
	}
	n.Stop()
	radiusd.Await(t, `"msg":"nas restarted"`, 2) // all accounting was sent before
	radiusd.Signal(t, syscall.SIGTERM)
	radiusd.End(t)
	out := cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "session", "history", "--events")
	if got := strings.Count(out, "admin-reset"); got != 3 || strings.Count(out, "stop   plant") != 3 {
		t.Errorf("%d sessions ended by Admin-Reset:\n%s", got, out)
	}
}

// An operator ends a session of a running service, through the store that they share;
// another service than the one that let the session in may do it.
func TestOperatorEndsSession(t *testing.T) {
	redis := redistest.Start(t)
	s := cmdtest.NewSite(t)
	s.Edit(t, "radiusd.yaml", "store: {path: state/store.db}", "store: {kind: redis, urls: ['"+redis.URL()+"'], timeout: 5s}")
	radiusd := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	radiusd.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	start(t, load(t, s), node.Options{Deps: w.deps})
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	// Its start is stored before there is something to name.
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if strings.Contains(cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "session", "list"), "active") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no session is listed")
		}
	}
	out := cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "session", "end", "--user", "plant", "--reason", "tea time", "--message", "Tea time")
	if !strings.Contains(out, "ended") || strings.Contains(out, "asked to end") {
		t.Errorf("%s", out)
	}
	endedWith(t, up, "Tea time")
	wantEndings(t, s, "plant: ended by an operator (gw1 done)")
	if !strings.Contains(s.Read(t, "audit.json"), ": tea time") {
		t.Error("the reason is not in the audit log")
	}
}

// Node and service in one process, as in a lab: no connection between them.
func TestSessionsFollowInProcess(t *testing.T) {
	s := cmdtest.NewSite(t)
	for line := range strings.Lines(s.Read(t, "radiusd.yaml")) {
		if strings.HasPrefix(line, "  radsec:") {
			s.Edit(t, "radiusd.yaml", line, "")
		}
	}
	s.Edit(t, "radiusd.yaml", "  - {name: gw1, certificates: ["+cmdtest.NodeName+"]}\n", "")
	s.Write(t, "radiusd.yaml", s.Read(t, "radiusd.yaml")+"follow: {interval: 1s}\n")
	cfg, err := config.LoadService(s.Radiusd)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := services.New(cfg, services.Options{Log: logger(t), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	if err := svc.Start(); err != nil {
		t.Fatal(err)
	}
	w := newNetwork(t)
	n := start(t, load(t, s), node.Options{Deps: w.deps, Local: svc.Handler()})
	svc.Dynamic().Attach("gw1", n.Dynamic())
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, "nothing has changed", up)
	cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "user", "del", "plant")
	endedWith(t, up, "Access denied")
	wantEndings(t, s, "plant: no such user (gw1 done)")
	n.Stop()
}
