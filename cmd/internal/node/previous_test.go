package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	services "postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/pptp/client"
)

// Nodes and services are brought up to date one after the other, so each must get along
// with the other's release before. What node and service of that release say to one
// another is in testdata/previous, to be recorded anew (-record) when a release has been
// made, and never to be edited to please a test.
var record = flag.Bool("record", false, "write testdata/previous from this release")

const previous = "testdata/previous/exchanges.txt"

// exchange is a request with its reply, as they travelled in one process.
type exchange struct {
	name           string
	secret         radius.Secret
	request, reply []byte
}

// tape keeps what passes, under names that the packets have earned.
type tape struct {
	to radius.Handler

	mu  sync.Mutex
	all []exchange
}

func (p *tape) ServeRADIUS(ctx context.Context, req []byte, from radius.Peer) []byte {
	kept := bytes.Clone(req)
	reply := p.to.ServeRADIUS(ctx, req, from)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, exchange{nameOf(kept, reply), from.Secret, kept, bytes.Clone(reply)})
	return reply
}

func (p *tape) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.all, func(x exchange) bool { return x.name == name })
}

func (p *tape) await(t *testing.T, name string, patience time.Duration) {
	t.Helper()
	for end := time.Now().Add(patience); !p.has(name); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", name)
		}
	}
}

// nameOf says what an exchange is about.
func nameOf(request, reply []byte) string {
	code := radius.Code(request[0])
	switch {
	case code == radius.CodeAccountingRequest:
		for typ, v := range attributes(request) {
			if typ == byte(rfc2866.AcctStatusType_Type) {
				return "accounting " + rfc2866.AcctStatusType(binary.BigEndian.Uint32(v)).String()
			}
		}
	case len(reply) == 0:
		return code.String() + " unanswered"
	}
	return code.String() + " " + radius.Code(reply[0]).String()
}

// attributes walks a well-formed packet.
func attributes(packet []byte) func(yield func(byte, []byte) bool) {
	return func(yield func(byte, []byte) bool) {
		for b := packet[20:]; len(b) >= 2; b = b[b[1]:] {
			if !yield(b[0], b[2:b[1]]) {
				return
			}
		}
	}
}

// kinds are the types of a packet's attributes; of vendors', which and of what type.
func kinds(packet []byte) []string {
	var all []string
	for typ, v := range attributes(packet) {
		if typ != byte(rfc2865.VendorSpecific_Type) {
			all = append(all, fmt.Sprint(typ))
			continue
		}
		for sub := v[4:]; len(sub) >= 2; sub = sub[sub[1]:] {
			all = append(all, fmt.Sprintf("26.%d.%d", binary.BigEndian.Uint32(v), sub[0]))
		}
	}
	return all
}

// missing are those of want that got lacks.
func missing(want, got []string) []string {
	return slices.DeleteFunc(want, func(k string) bool { return slices.Contains(got, k) })
}

// localSite is a site whose service serves in this process.
func localSite(t *testing.T) (*cmdtest.Site, *services.Service) {
	t.Helper()
	s := cmdtest.NewSite(t)
	for line := range strings.Lines(s.Read(t, "radiusd.yaml")) {
		if strings.HasPrefix(line, "  radsec:") {
			s.Edit(t, "radiusd.yaml", line, "")
		}
	}
	s.Edit(t, "radiusd.yaml", "  - {name: gw1, certificates: ["+cmdtest.NodeName+"]}\n", "")
	s.Write(t, "radiusd.yaml", s.Read(t, "radiusd.yaml")+"session: {interim: 1m}\n")
	s.Edit(t, "policy.yaml", "permit: {factor: none, pool: staff}",
		"permit: {factor: none, pool: staff, dns: [203.0.113.2], session_timeout: 8h, idle_timeout: 1h, bandwidth: {up: 20M, down: 50M}}")
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
	return s, svc
}

// converse has node and service of this release say all that the recording has. Interims
// are waited for where interim says so: a minute.
func converse(t *testing.T, interim bool) []exchange {
	t.Helper()
	_, svc := localSite(t)
	w := newNetwork(t)
	there, back := &tape{to: svc.Handler()}, new(tape)
	n := start(t, load(t, cmdtest.NewSite(t)), node.Options{Deps: w.deps, Local: there})
	back.to = n.Dynamic()
	svc.Dynamic().Attach("gw1", back)
	there.await(t, "accounting Accounting-On", patience)
	if _, err := w.dial(t, "plant", "wrong"); !refusedWith(err, mschap.ErrorAuthenticationFailed) {
		t.Fatal(err)
	}
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	there.await(t, "accounting Start", patience)
	if interim {
		there.await(t, "accounting Interim-Update", 2*time.Minute)
	}
	list, err := svc.Sessions().All(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	wish := session.Wish{Reason: authz.EndedByOperator.String(), Text: "Ended by an operator", Asked: time.Now().UTC()}
	if _, err := svc.Sessions().AskEnds(t.Context(), list, wish); err != nil {
		t.Fatal(err)
	}
	back.await(t, "Disconnect-Request Disconnect-ACK", patience)
	<-up.Done()
	there.await(t, "accounting Stop", patience)
	n.Stop()
	there.await(t, "accounting Accounting-Off", patience)
	return slices.Concat(there.all, back.all, []exchange{status(t, svc.Handler())})
}

// status asks as radius.Client does.
func status(t *testing.T, h radius.Handler) exchange {
	t.Helper()
	secret := radius.NewSecret("of one test")
	q := radius.NewRequest(radius.CodeStatusServer, secret)
	if err := rfc2865.NASIdentifier_AddString(q, "gw1"); err != nil {
		t.Fatal(err)
	}
	b, err := radius.EncodeRequest(q)
	if err != nil {
		t.Fatal(err)
	}
	x := exchange{secret: secret, request: b}
	x.reply = h.ServeRADIUS(t.Context(), bytes.Clone(b), radius.Peer{Transport: radius.InProcess, Name: "gw1", Secret: secret})
	x.name = nameOf(x.request, x.reply)
	return x
}

// TestRecord writes the recording, when it is asked to.
func TestRecord(t *testing.T) {
	if !*record {
		return // nothing is missing: see TestNothingUnlearned
	}
	var b bytes.Buffer
	b.WriteString("# What node and service of the release before said to one another.\n# Made by: go test ./cmd/internal/node -run TestRecord -record\n")
	for _, x := range converse(t, true) {
		fmt.Fprintf(&b, "\nexchange %s\nsecret %x\nrequest %x\nreply %x\n", x.name, x.secret.Bytes(), x.request, x.reply)
	}
	if err := os.WriteFile(previous, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// recorded reads the recording.
func recorded(t *testing.T) []exchange {
	t.Helper()
	f, err := os.Open(previous)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []exchange
	for in := bufio.NewScanner(f); in.Scan(); {
		key, value, _ := strings.Cut(in.Text(), " ")
		if key == "exchange" {
			all = append(all, exchange{name: value})
			continue
		}
		if key != "secret" && key != "request" && key != "reply" {
			continue
		}
		b, err := hex.DecodeString(value)
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %v", key, err)
		}
		x := &all[len(all)-1]
		switch key {
		case "secret":
			x.secret = radius.NewSecret(b)
		case "request":
			x.request = b
		case "reply":
			x.reply = b
		}
	}
	if len(all) < 8 {
		t.Fatalf("%d exchanges are recorded", len(all))
	}
	return all
}

func named(t *testing.T, all []exchange, name string) exchange {
	t.Helper()
	i := slices.IndexFunc(all, func(x exchange) bool { return x.name == name })
	if i < 0 {
		t.Fatalf("no %s is recorded", name)
	}
	return all[i]
}

// A node of the release before gets from this service all that it got from its own, and
// its session goes through the books.
func TestNodeOfPreviousRelease(t *testing.T) {
	_, svc := localSite(t)
	for _, x := range recorded(t) {
		if strings.HasPrefix(x.name, radius.CodeDisconnectRequest.String()) {
			continue // the other way round, below
		}
		reply := svc.Handler().ServeRADIUS(t.Context(), bytes.Clone(x.request), radius.Peer{Transport: radius.InProcess, Name: "gw1", Secret: x.secret})
		if reply == nil {
			t.Fatalf("%s: no answer", x.name)
		}
		if got := nameOf(x.request, reply); got != x.name {
			t.Fatalf("%s: %s", x.name, got)
		}
		if _, err := radius.ParseReply(reply, x.request, x.secret); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if lost := missing(kinds(x.reply), kinds(reply)); len(lost) > 0 {
			t.Errorf("%s: the answer has no attribute %v any more", x.name, lost)
		}
		live, err := svc.Sessions().All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch x.name {
		case "accounting Start", "accounting Interim-Update":
			if len(live) != 1 || live[0].User != "plant" || live[0].Node != "gw1" || live[0].Started.IsZero() {
				t.Errorf("after %s: %+v", x.name, live)
			}
		case "accounting Stop", "accounting Accounting-Off", "accounting Accounting-On":
			if len(live) != 0 {
				t.Errorf("after %s: %+v", x.name, live)
			}
		}
	}
	events, err := svc.Sessions().History(t.Context(), 10)
	if err != nil || len(events) != 2 {
		t.Errorf("history: %+v, %v", events, err)
	}
}

// before is a service of the release before: it answers with what that one answered, and
// believes nothing that lacks what that one was used to find. Only what proves a login is
// made anew, for it hangs on the challenge.
type before struct {
	t   *testing.T
	all []exchange
}

func (s *before) ServeRADIUS(_ context.Context, req []byte, from radius.Peer) []byte {
	p, err := radius.ParseRequest(req, from.Secret, false)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	var name string
	challenge, response, login := radius.GetMSCHAP2Response(p)
	nt := mschap.NTHash(cmdtest.Password)
	hash := mschap.ChallengeHash(&response.PeerChallenge, &challenge, rfc2865.UserName_GetString(p))
	right := mschap.NTResponse(hash, &nt) == response.NTResponse
	switch {
	case login && right:
		name = "Access-Request Access-Accept"
	case login:
		name = "Access-Request Access-Reject"
	case p.Code == radius.CodeStatusServer:
		name = "Status-Server Access-Accept"
	default:
		name = nameOf(req, nil)
	}
	i := slices.IndexFunc(s.all, func(x exchange) bool { return x.name == name })
	if i < 0 {
		s.t.Errorf("the release before knows no %s", name)
		return nil
	}
	x := s.all[i]
	if lost := missing(kinds(x.request), kinds(req)); len(lost) > 0 {
		s.t.Errorf("%s: the request has no attribute %v any more", name, lost)
	}
	was, err := radius.ParseReply(x.reply, x.request, x.secret)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	reply := radius.NewReply(p, was.Code)
	for _, a := range was.Attributes {
		if a.Type != rfc2869.MessageAuthenticator_Type && !hangsOnChallenge(a.Type, a.Attribute) {
			reply.Add(a.Type, a.Attribute)
		}
	}
	if login && right {
		hh := mschap.HashHash(&nt)
		master := mschap.MasterKey(&hh, &response.NTResponse)
		send, recv := mschap.StartKeys(&master, true)
		err = errors.Join(
			radius.AddMSCHAP2Success(reply, response.Ident, mschap.AuthenticatorResponse(&hh, &response.NTResponse, hash)),
			radius.AddMPPEKeys(reply, &send, &recv))
	}
	b, err2 := radius.EncodeReply(reply, p)
	if err := errors.Join(err, err2); err != nil {
		s.t.Error(err)
	}
	return b
}

// hangsOnChallenge: MS-MPPE-Send-Key, MS-MPPE-Recv-Key, MS-CHAP2-Success (RFC 2548).
func hangsOnChallenge(typ radius.Type, v []byte) bool {
	return typ == rfc2865.VendorSpecific_Type && len(v) > 4 && binary.BigEndian.Uint32(v) == 311 && slices.Contains([]byte{16, 17, 26}, v[4])
}

// This node gets along with a service of the release before: a login, the address that
// this one granted, its refusal, its books, and its wish that a session ends.
func TestServiceOfPreviousRelease(t *testing.T) {
	all := recorded(t)
	w := newNetwork(t)
	old := &tape{to: &before{t, all}}
	n := start(t, load(t, cmdtest.NewSite(t)), node.Options{Deps: w.deps, Local: old})
	old.await(t, "accounting Accounting-On", patience)
	if _, err := w.dial(t, "plant", "wrong"); !refusedWith(err, mschap.ErrorAuthenticationFailed) {
		t.Errorf("with a wrong password: %v", err)
	}
	up, err := w.dial(t, "plant", cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	was := named(t, all, "Access-Request Access-Accept")
	granted, err := radius.ParseReply(was.reply, was.request, was.secret)
	if err != nil {
		t.Fatal(err)
	}
	if want := rfc2865.FramedIPAddress_Get(granted).String(); up.Local().String() != want || len(up.DNS()) != 1 {
		t.Errorf("address %v, DNS %v, want %s and one", up.Local(), up.DNS(), want)
	}
	old.await(t, "accounting Start", patience)

	if reply := n.Dynamic().ServeRADIUS(t.Context(), askedToEnd(t, all, old), radius.Peer{Transport: radius.InProcess, Secret: radius.NewSecret("x")}); len(reply) == 0 ||
		radius.Code(reply[0]) != radius.CodeDisconnectACK {
		t.Errorf("the old service's Disconnect-Request: %x", reply)
	}
	select {
	case <-up.Done():
		var ended *client.EndedError
		if !errors.As(up.Err(), &ended) {
			t.Errorf("ended with %v", up.Err())
		}
	case <-time.After(patience):
		t.Error("the session goes on")
	}
	old.await(t, "accounting Stop", patience)
	n.Stop()
	old.await(t, "accounting Accounting-Off", patience)
}

// askedToEnd is the recorded Disconnect-Request, for the session that is up now.
func askedToEnd(t *testing.T, all []exchange, now *tape) []byte {
	t.Helper()
	was := named(t, all, "Disconnect-Request Disconnect-ACK")
	p, err := radius.ParseRequest(was.request, was.secret, false)
	if err != nil {
		t.Fatal(err)
	}
	now.mu.Lock()
	started := named(t, now.all, "accounting Start")
	now.mu.Unlock()
	record, err := radius.ParseRequest(started.request, started.secret, false)
	if err != nil {
		t.Fatal(err)
	}
	p.Secret = radius.NewSecret("x").Bytes()
	err = errors.Join(rfc2866.AcctSessionID_Set(p, rfc2866.AcctSessionID_Get(record)), rfc2869.EventTimestamp_Set(p, time.Now()))
	p.Attributes.Del(rfc2869.MessageAuthenticator_Type)
	b, err2 := radius.EncodeRequest(p)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return b
}

// This release's own node and service say at least what the one before said: who comes
// after can rely on it as well.
func TestNothingUnlearned(t *testing.T) {
	now := converse(t, false)
	for _, was := range recorded(t) {
		if was.name == "accounting Interim-Update" { // takes a minute; as Stop, but for the cause
			continue
		}
		is := named(t, now, was.name)
		if lost := missing(kinds(was.request), kinds(is.request)); len(lost) > 0 {
			t.Errorf("%s: the request has no attribute %v any more", was.name, lost)
		}
		if lost := missing(kinds(was.reply), kinds(is.reply)); len(lost) > 0 {
			t.Errorf("%s: the answer has no attribute %v any more", was.name, lost)
		}
	}
}
