package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/cmd/internal/pki"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store/redistest"
)

// A limit of sessions with on_limit: replace: the newer call is let in, and the service
// has the node end the older one, whose client reads why.
func TestReplaceEndsOldest(t *testing.T) {
	s := cmdtest.NewSite(t)
	s.Edit(t, "policy.yaml", "permit: {factor: none, pool: staff}", "permit: {factor: none, pool: staff, sessions: {max: 1, on_limit: replace}}")
	radiusd := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	radiusd.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	n := start(t, load(t, s), node.Options{Deps: w.deps})
	first, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatalf("the second call: %v", err)
	}
	endedWith(t, first, "Replaced by a newer connection")
	wantEndings(t, s, "plant: replaced (gw1 done)")
	goesOn(t, "it is the newest", second)
	if got := n.Sessions(); got != 1 {
		t.Errorf("the node has %d sessions", got)
	}
}

// remote is a node far away: it logs people in at one service, is told by that one to end
// sessions, and reports their end.
type remote struct {
	*radius.Client
	name string
	wg   sync.WaitGroup

	mu   sync.Mutex
	up   map[string]*radius.Packet // what let the session in, by its ID
	told []time.Time               // when sessions were to end
}

func newRemote(t *testing.T, name, service string, id config.Identity) *remote {
	t.Helper()
	conf, err := radius.ClientTLS(radius.TLSFiles{Cert: string(id.Cert), Key: string(id.Key), CA: string(id.CA)}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{name: name, up: make(map[string]*radius.Packet)}
	reverse, err := radius.NewDynamic(radius.DynamicConfig{CarryOut: r.carryOut})
	if err != nil {
		t.Fatal(err)
	}
	r.Client, err = radius.NewClient(radius.ClientConfig{
		Name: name, Servers: []radius.Server{{Name: service, Network: "radsec", Addr: service, TLS: conf}}, Timeout: 2 * time.Second, Retries: 3, Reverse: reverse,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		r.wg.Wait()
	})
	return r
}

// Exchange asks under the node's own name.
func (r *remote) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	if err := rfc2865.NASIdentifier_SetString(p, r.name); err != nil {
		return nil, err
	}
	return r.Client.Exchange(ctx, p)
}

// login has a session up, and reports its start.
func (r *remote) login(t *testing.T, typed, session string) {
	t.Helper()
	accept := cmdtest.Expect(t, r, typed, cmdtest.Password, session, radius.CodeAccessAccept)
	r.mu.Lock()
	r.up[session] = accept
	r.mu.Unlock()
	if err := r.report(session, accept, rfc2866.AcctStatusType_Value_Start, 0); err != nil {
		t.Fatal(err)
	}
}

func (r *remote) report(session string, accept *radius.Packet, status rfc2866.AcctStatusType, cause rfc2866.AcctTerminateCause) error {
	p := radius.NewRequest(radius.CodeAccountingRequest, radius.Secret{})
	errs := []error{
		rfc2866.AcctStatusType_Set(p, status),
		rfc2865.UserName_SetString(p, "alice"),
		rfc2866.AcctSessionID_SetString(p, session),
		rfc2865.FramedIPAddress_Set(p, rfc2865.FramedIPAddress_Get(accept)),
		rfc2865.Class_Set(p, rfc2865.Class_Get(accept)),
	}
	if cause != 0 {
		errs = append(errs, rfc2866.AcctTerminateCause_Set(p, cause))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := r.Exchange(ctx, p)
	return errors.Join(append(errs, err)...)
}

// carryOut ends a session (RFC 5176 §2.1).
func (r *remote) carryOut(_ context.Context, p *radius.Packet) error {
	if p.Code != radius.CodeDisconnectRequest {
		return radius.CauseUnsupportedExtension
	}
	id := rfc2866.AcctSessionID_GetString(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	accept := r.up[id]
	if accept == nil {
		return radius.CauseSessionNotFound
	}
	delete(r.up, id)
	r.told = append(r.told, time.Now())
	r.wg.Go(func() { // waited for by the clean-up; a lost report is found by the test
		_ = r.report(id, accept, rfc2866.AcctStatusType_Value_Stop, rfc2866.AcctTerminateCause_Value_AdminReset)
	})
	return nil
}

// ends is how many sessions were to end until now.
func (r *remote) ends() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.told)
}

// pair are two services on one Redis, and two nodes that are each connected to another of
// them. Alice has a token, and her place is remembered where she gives a code.
type pair struct {
	t        *testing.T
	site     *cmdtest.Site
	one, two *remote
	code     string // of hers, now
}

func newPair(t *testing.T) *pair {
	t.Helper()
	redis := redistest.Start(t)
	s := cmdtest.NewSite(t)
	ca, err := pki.Open(filepath.Join(s.Dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := ca.Issue("gw2", pki.ForClient, "gw2.example.org")
	if err != nil {
		t.Fatal(err)
	}
	s.Edit(t, "policy.yaml", "[203.0.113.10-203.0.113.99]", "[198.18.0.10-198.18.3.250]")
	s.Edit(t, "policy.yaml", "permit: {pool: staff, session_timeout: 8h}", "permit: {pool: staff, carriers: [inline, remembered], remember: {for: 8h}}")
	s.Edit(t, "radiusd.yaml", "store: {path: state/store.db}", "store: {kind: redis, urls: ['"+redis.URL()+"'], timeout: 5s}")
	s.Edit(t, "radiusd.yaml", "  - {name: local,", "  - {name: gw2, certificates: [gw2.example.org]}\n  - {name: local,")
	other := strings.NewReplacer("node: service1", "node: service2", "audit.json", "audit2.json",
		s.Auth, cmdtest.FreeUDP(t), s.Acct, cmdtest.FreeUDP(t), s.Metrics, cmdtest.FreeTCP(t), s.Portal, cmdtest.FreeTCP(t))
	radsec := cmdtest.FreeTCP(t)
	s.Write(t, "radiusd2.yaml", strings.Replace(other.Replace(s.Read(t, "radiusd.yaml")), s.RadSec, radsec, 1))
	for _, file := range []string{"radiusd.yaml", "radiusd2.yaml"} {
		cmdtest.Start(t, "postern-radiusd", "-config", filepath.Join(s.Dir, file)).Await(t, `"msg":"running"`, 1)
	}
	p := &pair{t: t, site: s}
	var token struct{ Secret string }
	p.postern(&token, "mfa", "enroll", "alice")
	if p.code, err = totp.GenerateCode(token.Secret, time.Now()); err != nil {
		t.Fatal(err)
	}
	p.one, p.two = newRemote(t, "gw1", s.RadSec, s.Node), newRemote(t, "gw2", radsec, second)
	return p
}

// postern runs the command and reads what it says into v.
func (p *pair) postern(v any, args ...string) {
	p.t.Helper()
	out := cmdtest.Must(p.t, "", "postern", append([]string{"--config", p.site.Radiusd, "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		p.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// All that lets a user be in is taken back by one command, on nodes that are each
// connected to another service than the next: two hundred sessions within seconds, and
// nobody comes back without a code.
func TestRevokeOverTwoServices(t *testing.T) {
	const each = 100
	p := newPair(t)
	s, one, two, postern := p.site, p.one, p.two, p.postern
	one.login(t, "alice+"+p.code, "gw1-000") // and the place is remembered
	for i := 1; i < each; i++ {
		one.login(t, "alice", fmt.Sprintf("gw1-%03d", i))
	}
	for i := range each {
		two.login(t, "alice", fmt.Sprintf("gw2-%03d", i))
	}

	type revoked struct {
		DryRun     bool              `json:"dry_run"`
		Live       []json.RawMessage `json:"live"`
		Remembered []json.RawMessage `json:"remembered"`
		Sessions   []struct{ Ended bool }
		Took       string
	}
	var had, v revoked
	postern(&had, "user", "revoke", "alice", "--dry-run")
	if !had.DryRun || len(had.Live) != 2*each || len(had.Remembered) != 1 || one.ends()+two.ends() > 0 {
		t.Fatalf("before: dry run %v, %d sessions, %d remembered", had.DryRun, len(had.Live), len(had.Remembered))
	}
	began := time.Now()
	postern(&v, "user", "revoke", "alice", "--yes", "--reason", "lost telephone", "--wait", "30s")
	took := time.Since(began)
	for _, x := range v.Sessions {
		if !x.Ended {
			t.Error("a session goes on")
		}
	}
	var first, last time.Time
	for _, r := range []*remote{one, two} {
		r.mu.Lock()
		if len(r.told) != each || len(r.up) != 0 {
			t.Errorf("%s was told to end %d sessions, and has %d", r.name, len(r.told), len(r.up))
		}
		for _, at := range r.told {
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
		}
		r.mu.Unlock()
	}
	t.Logf("%d sessions on two services: the first was told to end after %v, the last after %v; the command was done after %v (%s of it at work)",
		len(v.Sessions), first.Sub(began), last.Sub(began), took, v.Took)
	if last.Sub(began) > patience {
		t.Errorf("the last was told after %v", last.Sub(began))
	}

	// The place is forgotten, at both.
	for _, r := range []*remote{one, two} {
		cmdtest.Expect(t, r, "alice", cmdtest.Password, r.name+"-900", radius.CodeAccessReject)
	}
	var left []json.RawMessage
	if postern(&left, "session", "list", "--user", "alice"); len(left) != 0 {
		t.Errorf("%d sessions are left", len(left))
	}
	var past []struct {
		Starts, Stops int
		Cause         rfc2866.AcctTerminateCause
		Why           string
	}
	postern(&past, "session", "history", "--user", "alice", "-n", "1000")
	for _, p := range past {
		if p.Starts != 1 || p.Stops != 1 || p.Cause != rfc2866.AcctTerminateCause_Value_AdminReset || p.Why != "revoked" {
			t.Errorf("%+v", p)
		}
	}
	if len(past) != 2*each {
		t.Errorf("%d sessions in the history", len(past))
	}
	// Each was written down by one service, whichever had told its node; the line comes after
	// the node's answer.
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		n := strings.Count(s.Read(t, "audit.json"), `"session ended"`) + strings.Count(s.Read(t, "audit2.json"), `"session ended"`)
		if n == 2*each {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d ends in the audit logs", n)
		}
	}
}

// A review has every service's sessions looked at again: those end that lived on what is
// not remembered any more, and the one goes on that was opened with a code.
func TestReviewOverTwoServices(t *testing.T) {
	p := newPair(t)
	p.one.login(t, "alice+"+p.code, "gw1-0")
	for i := range 3 {
		p.one.login(t, "alice", fmt.Sprintf("gw1-%d", i+1))
		p.two.login(t, "alice", fmt.Sprintf("gw2-%d", i+1))
	}
	var v struct {
		Reviewed   bool
		Remembered []json.RawMessage
		Sessions   []json.RawMessage
	}
	p.postern(&v, "user", "revoke", "alice", "--review", "--yes", "--reason", "another computer")
	if !v.Reviewed || len(v.Sessions) != 7 || len(v.Remembered) != 1 {
		t.Errorf("reviewed %v, %d sessions, %d remembered", v.Reviewed, len(v.Sessions), len(v.Remembered))
	}
	for end := time.Now().Add(patience); p.one.ends()+p.two.ends() < 6; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d and %d sessions were to end", p.one.ends(), p.two.ends())
		}
	}
	var left []struct{ Session, Node string }
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if p.postern(&left, "session", "list", "--user", "alice"); len(left) == 1 || time.Now().After(end) {
			break
		}
	}
	p.one.mu.Lock()
	defer p.one.mu.Unlock()
	if len(left) != 1 || p.one.up["gw1-0"] == nil || len(p.one.told) != 3 || len(p.two.told) != 3 {
		t.Errorf("left are %+v; %d and %d were told to end", left, len(p.one.told), len(p.two.told))
	}
}
