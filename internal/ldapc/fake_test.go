package ldapc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// fake is an LDAP server behind pipes, so that its tests run on virtual time.
type fake struct {
	// answer handles a request; nil: everything succeeds. A fake that returns false
	// hangs up.
	answer   func(r *request) bool
	tls      *tls.Config // nil: none
	startTLS bool        // it begins without
	socket   bool        // behind sockets: TLS writes from both sides at once
	inject   string      // what an attacker puts behind the answer to StartTLS

	mu     sync.Mutex
	dials  int
	open   int // connections
	ops    []ber.Tag
	binds  []string // "name/password"
	down   bool     // refuses connections
	frozen bool     // takes them and says nothing
	conns  []net.Conn
	served sync.WaitGroup
}

// here makes a pipe look like a connection on this host.
type here struct{ net.Conn }

func (here) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 389} }

func (f *fake) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.down {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	if f.socket {
		ours.Close()
		theirs.Close()
		ours, theirs = socketPair()
	}
	f.open++
	f.conns = append(f.conns, theirs)
	c := theirs
	if f.tls != nil && !f.startTLS {
		c = tls.Server(theirs, f.tls)
	}
	f.served.Go(func() { f.serve(c) }) // the test waits
	return here{ours}, nil
}

func socketPair() (ours, theirs net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		panic(err)
	}
	if theirs, err = l.Accept(); err != nil {
		panic(err)
	}
	return ours, theirs
}

func (f *fake) serve(c net.Conn) {
	defer func() {
		c.Close()
		f.mu.Lock()
		f.open--
		f.mu.Unlock()
	}()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		r := &request{conn: c, id: p.Children[0].Value.(int64), op: p.Children[1]}
		if len(p.Children) > 2 {
			r.controls = p.Children[2].Children
		}
		f.mu.Lock()
		f.ops = append(f.ops, r.op.Tag)
		if r.op.Tag == ldap.ApplicationBindRequest {
			f.binds = append(f.binds, r.op.Children[1].Value.(string)+"/"+r.op.Children[2].Data.String())
		}
		frozen, answer := f.frozen, f.answer
		f.mu.Unlock()
		switch {
		case r.op.Tag == ldap.ApplicationUnbindRequest:
			return
		case frozen:
		case r.op.Tag == ldap.ApplicationExtendedRequest && f.startTLS && answer == nil:
			r.done(0, "")
			c.Write([]byte(f.inject))
			c = tls.Server(c, f.tls)
		case answer == nil:
			r.done(0, "")
		case !answer(r):
			return
		}
	}
}

// hangUp ends all connections, as a server does that stops.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) dialled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

func (f *fake) opened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}

func (f *fake) bound() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.binds)
}

func (f *fake) count(tag ber.Tag) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, t := range f.ops {
		if t == tag {
			n++
		}
	}
	return n
}

// request is what a client wants.
type request struct {
	conn     net.Conn
	id       int64
	op       *ber.Packet
	controls []*ber.Packet
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// send answers with an operation.
func (r *request) send(op *ber.Packet, controls ...ldap.Control) {
	p := ber.NewSequence("LDAPMessage")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, r.id, ""))
	p.AppendChild(op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			list.AppendChild(c.Encode())
		}
		p.AppendChild(list)
	}
	r.conn.Write(p.Bytes())
}

// done sends the result that ends the operation. A response's tag is its request's
// and one, but for a search, which may have entries in between.
func (r *request) done(code int, text string, controls ...ldap.Control) {
	tag := r.op.Tag + 1
	if r.op.Tag == ldap.ApplicationSearchRequest {
		tag = ldap.ApplicationSearchResultDone
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	op.AppendChild(octets(""))
	op.AppendChild(octets(text))
	r.send(op, controls...)
}

func (r *request) entry(dn string, attrs map[string]string) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(octets(dn))
	list := ber.NewSequence("")
	for name, value := range attrs {
		a := ber.NewSequence("")
		a.AppendChild(octets(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		set.AppendChild(octets(value))
		a.AppendChild(set)
		list.AppendChild(a)
	}
	op.AppendChild(list)
	r.send(op)
}

// paging returns the control that asks for a page; nil: none does.
func (r *request) paging() *ldap.ControlPaging {
	for _, p := range r.controls {
		if c, err := ldap.DecodeControl(p); err == nil {
			if c, ok := c.(*ldap.ControlPaging); ok {
				return c
			}
		}
	}
	return nil
}

// testClient makes a Client of the fakes; servers are a, b, …
func testClient(t *testing.T, cfg Config, fakes ...*fake) *Client {
	t.Helper()
	byAddr := map[string]*fake{}
	for i, f := range fakes {
		name := string(rune('a' + i))
		cfg.Servers = append(cfg.Servers, name)
		byAddr[name+":389"], byAddr[name+":636"] = f, f
	}
	if cfg.TLS == TLSUnknown {
		cfg.TLS = Plain
	}
	if cfg.Bind.Method == MethodUnknown {
		cfg.Bind.Method = Anonymous
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.dial = func(ctx context.Context, addr string) (net.Conn, error) { return byAddr[addr].dial(ctx) }
	t.Cleanup(func() {
		c.Close()
		for _, f := range fakes {
			f.hangUp()
			f.served.Wait()
			if f.opened() != 0 {
				t.Errorf("%d connections left", f.opened())
			}
		}
	})
	return c
}

// anything is a search that every fake answers.
var anything = &Search{Base: "dc=lab", Scope: ldap.ScopeBaseObject, Filter: present}

func search(t *testing.T, c *Client) error {
	t.Helper()
	_, err := c.Search(t.Context(), anything)
	return err
}
