//go:build integration

package integration

import (
	"bufio"
	"context"
	be "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"postern/integration/netlab"
	"postern/internal/mschap"
	rad "postern/internal/radius"
	"postern/pptp/client"
	"postern/pptp/tun"
)

// A node between a client and the network behind it, each in a namespace of its own:
//
//	clients 10.78.0.2 ──br0── 10.78.0.1 node 10.81.0.1 ──behind── 10.81.0.2 servers
//	        10.99.0.x ══════ 10.99.0.1                             .20 portal  .53 DNS
type fenced struct {
	*domain
	service         *judge
	clients, behind *netlab.Namespace
	gateway         *exec.Cmd
	said            string // the file of the node's log
	host            *client.Host
}

const (
	fencedNode = `node: gw1
pptp: {listen: "10.78.0.1:1723", inside: 10.99.0.1, tun: postern-en, allowed_sources: [ALLOWED], draining: DRAINING}
radius:
  timeout: 2s
  servers: [{name: judge, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_file: secret}]
coa: {listen: "127.0.0.1:3799", clients: [{network: 127.0.0.1, secret_file: secret}]}
filter:
  portal: [10.81.0.20:443]
  nat: NAT
  client_to_client: MEET
  filters:
    printers: [permit in tcp from assigned to @printers 9100]
  sets:
    printers: [10.81.0.2]
spool: {dir: spool}
metrics: {listen: 127.0.0.1:9101}
log: {level: debug}
`
	fencedURL = "https://10.81.0.20/s/token?x=1&y=2"
	// somewhere is an address that nobody has; the clients' route to it is the tunnel.
	somewhere = "203.0.113.80:80"
	webRule   = "permit in tcp from assigned to 10.81.0.2 80"
	pingRule  = "permit in icmp from assigned to 10.81.0.0/24"
)

// judge is a service that knows one password and grants what it is told.
type judge struct {
	mu      sync.Mutex
	grant   func(*rad.Packet) error
	last    byte   // of the last address
	session string // the last Acct-Session-Id
}

func (j *judge) grants(f func(*rad.Packet) error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.grant = f
}

// serve answers requests until the socket closes.
func (j *judge) serve(t *testing.T, c net.PacketConn) {
	secret := rad.NewSecret(domainSecret)
	buf := make([]byte, rad.MaxPacket)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		p, err := rad.ParseRequest(buf[:n], secret, false)
		if err != nil {
			t.Error(err)
			continue
		}
		reply, err := j.answer(p)
		if err == nil {
			var b []byte
			if b, err = rad.EncodeReply(reply, p); err == nil {
				_, err = c.WriteTo(b, from)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func (j *judge) answer(p *rad.Packet) (*rad.Packet, error) {
	if p.Code == rad.CodeAccountingRequest {
		return rad.NewReply(p, rad.CodeAccountingResponse), nil
	}
	if p.Code == rad.CodeStatusServer { // the node says how it is
		return rad.NewReply(p, rad.CodeAccessAccept), nil
	}
	challenge, r, ok := rad.GetMSCHAP2Response(p)
	if !ok {
		return nil, errors.New("no MS-CHAP2-Response")
	}
	nt := mschap.NTHash("correct horse")
	hh := mschap.HashHash(&nt)
	hash := mschap.ChallengeHash(&r.PeerChallenge, &challenge, rfc2865.UserName_GetString(p))
	if mschap.NTResponse(hash, &nt) != r.NTResponse {
		return rad.NewReply(p, rad.CodeAccessReject), nil
	}
	master := mschap.MasterKey(&hh, &r.NTResponse)
	send, recv := mschap.StartKeys(&master, true)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.session = rfc2866.AcctSessionID_GetString(p)
	reply := rad.NewReply(p, rad.CodeAccessAccept)
	err := errors.Join(
		rfc2865.FramedIPAddress_Set(reply, net.IPv4(10, 99, 0, 9+j.last)),
		rad.AddNameServers(reply, rad.NameServers{DNS: []netip.Addr{netip.MustParseAddr("10.81.0.53")}}),
		rad.AddMSCHAP2Success(reply, r.Ident, mschap.AuthenticatorResponse(&hh, &r.NTResponse, hash)),
		rad.AddMPPEKeys(reply, &send, &recv),
		rad.AddMPPEPolicy(reply, rad.EncryptionRequired, rad.Encryption128))
	if j.grant != nil {
		err = errors.Join(err, j.grant(reply))
	}
	return reply, err
}

func newFenced(t *testing.T) *fenced {
	t.Helper()
	f := &fenced{domain: &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}}, service: new(judge), clients: netlab.New(t), behind: netlab.New(t)}
	f.net.Bridge(t, segment, node+"/24")
	f.net.Bridge(t, "behind", "10.81.0.1/24")
	f.net.Join(t, segment, f.clients, "eth0", "10.78.0.2/24")
	f.net.Join(t, "behind", f.behind, "lan0", "10.81.0.2/24")
	for _, a := range []string{"10.81.0.20/24", "10.81.0.53/24", "10.81.0.54/24"} {
		f.behind.Run(t, "ip", "addr", "add", a, "dev", "lan0")
	}
	f.behind.Run(t, "ip", "route", "add", "10.99.0.0/24", "via", "10.81.0.1")
	f.net.Run(t, "ip", "route", "add", "default", "via", "10.81.0.2") // the rest of the world
	f.net.Run(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	// A table of somebody else's, which must stay as it is.
	f.net.Run(t, "nft", "add table inet other; add chain inet other forward { type filter hook forward priority 0; policy accept; }; "+
		"add rule inet other forward counter accept")
	for _, port := range []int{1812, 1813} {
		var c net.PacketConn
		var err error
		f.net.Do(func() { c, err = net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port)) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		go f.service.serve(t, c) // ends with the socket
	}
	if err := os.WriteFile(filepath.Join(f.dir, "secret"), []byte(domainSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"10.81.0.2:80", "10.81.0.2:443", "10.81.0.2:22", "10.81.0.2:9100", "10.81.0.20:443", "10.81.0.20:22"} {
		f.listen(t, at)
	}
	for _, at := range []string{"10.81.0.53:53", "10.81.0.54:53"} {
		f.names(t, at)
	}
	return f
}

// configure writes the node's configuration: pairs of what to replace.
func (f *fenced) configure(t *testing.T, with ...string) {
	t.Helper()
	defaults := []string{"ALLOWED", "0.0.0.0/0", "DRAINING", "false", "NAT", "off", "MEET", "false"}
	text := strings.NewReplacer(append(with, defaults...)...).Replace(fencedNode)
	if err := os.WriteFile(filepath.Join(f.dir, "gateway.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload makes the node read its configuration again.
func (f *fenced) reload(t *testing.T, with ...string) {
	t.Helper()
	f.configure(t, with...)
	before := f.says(t, "reloaded")
	if err := f.gateway.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	f.await(t, "reloaded", before+1)
}

// start runs the node until the end of the test.
func (f *fenced) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(f.dir, "gateway.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	f.said = log.Name()
	f.gateway = exec.Command(filepath.Join(binaries, "postern-gateway"), "-config", filepath.Join(f.dir, "gateway.yaml"))
	f.gateway.Stdout, f.gateway.Stderr = log, log
	if err := f.net.Start(f.gateway); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.gateway.Process.Signal(syscall.SIGTERM)
		_ = f.gateway.Wait()
		if t.Failed() {
			t.Logf("the node said:\n%s", tail(f.said, 80))
		}
	})
	f.await(t, "running", 1)
}

// says is how often the node has logged a message.
func (f *fenced) says(t *testing.T, msg string) int {
	t.Helper()
	b, err := os.ReadFile(f.said)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), `"msg":"`+msg+`"`)
}

func (f *fenced) await(t *testing.T, msg string, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); f.says(t, msg) < n; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the node does not say %q:\n%s", msg, tail(f.said, 20))
		}
	}
}

// listen is a server that greets who connects, until the connection ends says again
// what it hears, and to "more" sends without an end.
func (f *fenced) listen(t *testing.T, at string) {
	t.Helper()
	var l net.Listener
	var err error
	f.behind.Do(func() { l, err = net.Listen("tcp4", at) })
	greet(t, at, l, err)
}

func greet(t *testing.T, at string, l net.Listener, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				fmt.Fprintf(c, "%s for %s\n", at, c.RemoteAddr())
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if line == "more\n" {
						for b := make([]byte, 1<<16); err == nil; {
							_, err = c.Write(b)
						}
						return
					}
					_, _ = io.WriteString(c, line)
				}
			}()
		}
	}()
}

// names answers whatever it is asked with the same octets.
func (f *fenced) names(t *testing.T, at string) {
	t.Helper()
	var c net.PacketConn
	var err error
	f.behind.Do(func() { c, err = net.ListenPacket("udp4", at) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() { // ends with the socket
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// dial logs in and makes the session an interface of the clients' namespace.
func (f *fenced) dial(t *testing.T) (*client.Session, error) {
	t.Helper()
	var s *client.Session
	var err error
	f.clients.Do(func() {
		if f.host == nil {
			if f.host, err = client.NewHost(netip.MustParseAddr("10.78.0.2"), nil); err != nil {
				return
			}
			t.Cleanup(func() { _ = f.host.Close() })
		}
		s, err = f.host.Dial(t.Context(), client.Config{
			Server: netip.MustParseAddrPort(node + ":1723"), User: "alice", Password: "correct horse", Timeout: 20 * time.Second,
		})
	})
	return s, err
}

func (f *fenced) attach(t *testing.T, s *client.Session, name string, routes ...string) {
	t.Helper()
	var err error
	f.clients.Do(func() {
		var all []netip.Prefix
		for _, r := range routes {
			all = append(all, netip.MustParsePrefix(r))
		}
		var d tun.Device
		if d, err = tun.Open(name, s.MTU(), s.Local(), all); err == nil {
			err = s.Attach(d)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fenced) id() string {
	f.service.mu.Lock()
	defer f.service.mu.Unlock()
	return f.service.session
}

// coa changes a session as a service does and returns the Error-Cause, 0 for an ACK.
func (f *fenced) coa(t *testing.T, session string, fill ...func(*rad.Packet) error) rad.ErrorCause {
	t.Helper()
	secret := rad.NewSecret(domainSecret)
	p := &rad.Packet{Code: rad.CodeCoARequest, Identifier: byte(time.Now().UnixNano() >> 10), Secret: secret.Bytes()}
	err := errors.Join(rfc2866.AcctSessionID_SetString(p, session), rfc2869.EventTimestamp_Set(p, time.Now()))
	for _, do := range fill {
		err = errors.Join(err, do(p))
	}
	req, err2 := rad.EncodeRequest(p)
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	var reply []byte
	f.net.Do(func() {
		var c net.Conn
		if c, err = net.Dial("udp4", "127.0.0.1:3799"); err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err = c.Write(req); err != nil {
			return
		}
		b := make([]byte, rad.MaxPacket)
		var n int
		n, err = c.Read(b)
		reply = b[:n]
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := rad.ParseReply(reply, req, secret)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Code == rad.CodeCoAACK {
		return 0
	}
	return rad.ErrorCause(rfc3576.ErrorCause_Get(answer))
}

func (f *fenced) changed(t *testing.T, fill ...func(*rad.Packet) error) {
	t.Helper()
	if cause := f.coa(t, f.id(), fill...); cause != 0 {
		t.Fatalf("CoA: %v", cause)
	}
}

func withFilter(name string, rules ...string) func(*rad.Packet) error {
	return func(p *rad.Packet) error {
		return errors.Join(rfc2865.FilterID_AddString(p, name), rad.AddFilterRules(p, rules))
	}
}

func withQuarantine(p *rad.Packet) error { return rad.AddQuarantine(p, time.Hour, fencedURL) }

// metric is a metric's value, summed.
func (f *fenced) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	var text []byte
	f.net.Do(func() {
		c, err := net.Dial("tcp4", "127.0.0.1:9101")
		if err != nil {
			return
		}
		defer c.Close()
		if _, err = io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n"); err == nil {
			text, _ = io.ReadAll(c)
		}
	})
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") ||
			slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(line, l) }) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v); err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// How a client's try to connect went.
const (
	through    = "through"
	refusedBy  = "refused by the node" // ICMP administratively prohibited
	noService  = "nobody there"
	unanswered = "unanswered"
)

func outcome(err error) string {
	var late net.Error
	switch {
	case err == nil:
		return through
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES):
		return refusedBy
	case errors.Is(err, syscall.ECONNREFUSED):
		return noService
	case errors.As(err, &late) && late.Timeout():
		return unanswered
	}
	return err.Error()
}

// connect opens a connection from a namespace; nil where it did not go through.
func connect(ns *netlab.Namespace, at string) (c net.Conn, how string) {
	ns.Do(func() {
		var err error
		if c, err = net.DialTimeout("tcp4", at, 2*time.Second); err == nil {
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		}
		how = outcome(err)
	})
	return c, how
}

func reach(t *testing.T, ns *netlab.Namespace, want string, ats ...string) {
	t.Helper()
	for _, at := range ats {
		c, how := connect(ns, at)
		if c != nil {
			_ = c.Close()
		}
		if how != want {
			t.Errorf("%s: %s, want %s", at, how, want)
		}
	}
}

// resolve asks a name server.
func (f *fenced) resolve(at string) (how string) {
	f.clients.Do(func() {
		c, err := net.Dial("udp4", at)
		if err == nil {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err = c.Write([]byte("who is it")); err == nil {
				_, err = c.Read(make([]byte, 100))
			}
		}
		how = outcome(err)
	})
	return how
}

// redirected is where plain HTTP of clients is sent.
func (f *fenced) redirected(t *testing.T) string {
	t.Helper()
	return redirectedFrom(t, f.clients)
}

func redirectedFrom(t *testing.T, ns *netlab.Namespace) string {
	t.Helper()
	c, how := connect(ns, somewhere)
	if c == nil {
		return how
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /what HTTP/1.1\r\nHost: anything.example\r\n\r\n"); err != nil {
		t.Error(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer r.Body.Close()
	return fmt.Sprint(r.StatusCode, " ", r.Header.Get("Location"))
}

func pingable(t *testing.T, s *client.Session, to string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := s.Ping(ctx, netip.MustParseAddr(to), 56)
	return err == nil
}

// What a session may do is enforced by the kernel, follows the service at once, and is
// gone without a trace when the node is.
func TestEnforcement(t *testing.T) {
	f := newFenced(t)
	ruleset := func() string { return withoutCounts(f.net.Run(t, "nft", "list", "ruleset")) }
	before := ruleset()
	f.configure(t)
	f.start(t)
	f.service.grants(withQuarantine)
	s, err := f.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	f.attach(t, s, "cl0", "10.81.0.0/24", "203.0.113.0/24", "10.99.0.0/24")
	inner := s.Local().String()

	t.Run("quarantine", func(t *testing.T) {
		if how := f.resolve("10.81.0.53:53"); how != through {
			t.Errorf("its name server: %s", how)
		}
		if how := f.resolve("10.81.0.54:53"); how != refusedBy {
			t.Errorf("another name server: %s", how)
		}
		reach(t, f.clients, through, "10.81.0.20:443")
		reach(t, f.clients, refusedBy, "10.81.0.20:22", "10.81.0.2:443", "10.81.0.2:22", "203.0.113.80:443")
		if got := f.redirected(t); got != "302 "+fencedURL {
			t.Errorf("HTTP: %s", got)
		}
		if pingable(t, s, "10.81.0.2") {
			t.Error("it pings")
		}
		f.opened(t, inner, false)
		if got := f.metric(t, "postern_sessions_quarantined"); got != 1 {
			t.Errorf("%v in quarantine", got)
		}
	})
	t.Run("lifted", func(t *testing.T) {
		began := time.Now()
		f.changed(t, withFilter("staff", webRule, pingRule))
		if !pingable(t, s, "10.81.0.2") {
			t.Error("it does not ping")
		}
		t.Logf("after %v", time.Since(began))
		reach(t, f.clients, through, "10.81.0.2:80")
		reach(t, f.clients, unanswered, "10.81.0.2:443", "10.81.0.2:22")
		if got := f.redirected(t); strings.HasPrefix(got, "302") {
			t.Errorf("HTTP: %s", got)
		}
		f.opened(t, inner, false)
		if got := f.metric(t, "postern_sessions_quarantined"); got != 0 {
			t.Errorf("%v in quarantine", got)
		}
	})
	t.Run("the node's own filter", func(t *testing.T) {
		f.changed(t, withFilter("printers"))
		reach(t, f.clients, through, "10.81.0.2:9100")
		reach(t, f.clients, unanswered, "10.81.0.2:80", "10.81.0.20:443")
	})
	t.Run("what it does not know", func(t *testing.T) {
		if cause := f.coa(t, f.id(), withFilter("unheard-of")); cause != rad.CauseInvalidValue {
			t.Errorf("%v", cause)
		}
		reach(t, f.clients, through, "10.81.0.2:9100")
		reach(t, f.clients, unanswered, "10.81.0.2:80")
	})
	t.Run("none", func(t *testing.T) {
		f.changed(t, withFilter(rad.FilterNone))
		reach(t, f.clients, through, "10.81.0.2:80", "10.81.0.2:443", "10.81.0.2:22", "10.81.0.20:443")
		f.opened(t, inner, true)
	})
	t.Run("narrowed", func(t *testing.T) {
		c, how := connect(f.clients, "10.81.0.2:80")
		if c == nil {
			t.Fatal(how)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		say := func(what string) error {
			_ = c.SetDeadline(time.Now().Add(3 * time.Second))
			if _, err := io.WriteString(c, what+"\n"); err != nil {
				return err
			}
			_, err := r.ReadString('\n')
			return err
		}
		if _, err := r.ReadString('\n'); err != nil { // the greeting
			t.Fatal(err)
		}
		if err := errors.Join(say("one"), say("two")); err != nil {
			t.Fatal(err)
		}
		f.changed(t, withQuarantine)
		if err := say("three"); err == nil {
			t.Error("a connection from before goes on")
		}
		if got := f.redirected(t); got != "302 "+fencedURL {
			t.Errorf("HTTP: %s", got)
		}
		f.changed(t, withFilter(rad.FilterNone))
	})
	t.Run("bandwidth", func(t *testing.T) {
		const limit = 4_000_000
		f.changed(t, func(p *rad.Packet) error { return rad.AddBandwidth(p, limit, limit) })
		c, how := connect(f.clients, "10.81.0.2:80")
		if c == nil {
			t.Fatal(how)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "more\n"); err != nil {
			t.Fatal(err)
		}
		const d = 4 * time.Second
		_ = c.SetDeadline(time.Now().Add(d))
		n, _ := io.Copy(io.Discard, c)
		rate, most := float64(n*8)/d.Seconds(), limit*(1.05+0.25/d.Seconds())
		t.Logf("%.0f bit/s", rate)
		if rate > most || n == 0 {
			t.Errorf("%.0f bit/s, at most %.0f are allowed", rate, most)
		}
		if f.metric(t, "postern_packets_dropped_total", `"bandwidth limit out"`) == 0 {
			t.Error("nothing was counted")
		}
	})
	t.Run("another session", func(t *testing.T) {
		f.service.grants(nil)
		other, err := f.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if !pingable(t, other, "10.81.0.2") {
			t.Error("it does not ping")
		}
		if pingable(t, other, inner) {
			t.Error("it pings the other client")
		}
		f.spoofs(t, other)
		f.reload(t, "MEET", "true")
		if !pingable(t, other, inner) {
			t.Error("it does not ping the other client, although it may")
		}
		f.reload(t)
		if pingable(t, other, inner) {
			t.Error("it pings the other client again")
		}
	})
	t.Run("address translation", func(t *testing.T) {
		f.reload(t, "NAT", "masquerade")
		c, how := connect(f.clients, "10.81.0.2:80")
		if c == nil {
			t.Fatal(how)
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || !strings.Contains(line, " for 10.81.0.1:") {
			t.Errorf("the server sees %q, %v", line, err)
		}
		f.reload(t)
	})
	t.Run("draining", func(t *testing.T) {
		f.reload(t, "DRAINING", "true")
		if other, err := f.dial(t); err == nil {
			t.Error("a new session")
			_ = other.Close()
		}
		if !pingable(t, s, "10.81.0.2") {
			t.Error("the session that is up is cut off")
		}
		f.reload(t)
	})
	t.Run("unknown filter", func(t *testing.T) {
		f.service.grants(withFilter("unheard-of"))
		if other, err := f.dial(t); err == nil {
			t.Error("a session without its filter")
			_ = other.Close()
		}
		if got := f.metric(t, "postern_sessions_ended_total", `"filter not in force"`); got != 1 {
			t.Errorf("%v ended so", got)
		}
		f.service.grants(nil)
	})
	t.Run("sources", func(t *testing.T) {
		f.reload(t, "ALLOWED", "10.78.0.99")
		if pingable(t, s, "10.81.0.2") {
			t.Error("a source that is not allowed any more")
		}
		f.reload(t)
		if !pingable(t, s, "10.81.0.2") {
			t.Error("it is allowed again, and cut off")
		}
	})
	if during := ruleset(); during == before || !strings.Contains(during, inner) {
		t.Errorf("the table is not there:\n%s", during)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(10 * time.Second); f.metric(t, "postern_filter_clients") != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the session is over and still in the table:\n%s", ruleset())
		}
	}
	if err := f.gateway.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ruleset() != before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("before:\n%s\nafter:\n%s", before, ruleset())
		}
	}
}

// withoutCounts takes out what counters say.
func withoutCounts(ruleset string) string {
	var b strings.Builder
	for line := range strings.Lines(ruleset) {
		words := strings.Split(line, " ")
		for i, w := range words {
			if i > 0 && (words[i-1] == "packets" || words[i-1] == "bytes") {
				w = "N"
				if strings.HasSuffix(words[i], "\n") {
					w += "\n"
				}
			}
			words[i] = w
		}
		b.WriteString(strings.Join(words, " "))
	}
	return b.String()
}

// opened tries a connection to the client, where something listens.
func (f *fenced) opened(t *testing.T, inner string, want bool) {
	t.Helper()
	var l net.Listener
	var err error
	f.clients.Do(func() { l, err = net.Listen("tcp4", inner+":8000") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, how := connect(f.behind, inner+":8000")
	if c != nil {
		_ = c.Close()
	}
	if (how == through) != want {
		t.Errorf("a connection to the client: %s", how)
	}
}

// spoofs sends with another inner source than its own, and with its own.
func (f *fenced) spoofs(t *testing.T, s *client.Session) {
	t.Helper()
	var c net.PacketConn
	var err error
	f.behind.Do(func() { c, err = net.ListenPacket("udp4", "10.81.0.2:7000") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := s.Local().As4()
	for _, from := range [][4]byte{{10, 99, 0, 200}, {10, 81, 0, 53}, {127, 0, 0, 1}, own} {
		if err := s.Send(datagram(from, [4]byte{10, 81, 0, 2}, 7000)); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, from, err := c.ReadFrom(b)
	if err != nil || !strings.HasPrefix(from.String(), s.Local().String()+":") {
		t.Errorf("came from %v, %v", from, err)
	}
	if got := f.metric(t, "postern_packets_dropped_total", `"spoofed source"`); got != 3 {
		t.Errorf("%v were counted", got)
	}
}

// datagram is an IPv4/UDP packet without a UDP checksum (RFC 768).
func datagram(from, to [4]byte, port uint16) []byte {
	b := make([]byte, 32)
	b[0], b[8], b[9] = 0x45, 64, 17
	be.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	be.BigEndian.PutUint16(b[20:], 7001)
	be.BigEndian.PutUint16(b[22:], port)
	be.BigEndian.PutUint16(b[24:], 12)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xFFFF + sum>>16
	}
	be.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}
