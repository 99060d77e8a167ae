package radiusd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
)

// RFC 5176 §2.3 has requests repeated as any other (RFC 5080 §2.2.1): after 1, 2 and
// 4 s here. A stream repeats nothing.
const (
	dynamicTimeout = time.Second
	dynamicRetries = 3
	reverseTimeout = 5 * time.Second
)

// Dynamic asks NAS to end and to change sessions (RFC 5176). It knows three ways to
// one, and takes them in this order:
//
//	in process   who shares our memory, see Attach
//	RadSec       a connection that the NAS has opened to us, the other way round
//	UDP          the address that its client's configuration gives
//
// A session's NAS is looked for among those of the client that the session came
// through: another client's NAS cannot have itself asked in its place by taking its
// name.
type Dynamic struct{ s *Server }

// Dynamic returns the server's.
func (s *Server) Dynamic() *Dynamic { return &Dynamic{s} }

// Disconnect has a session ended. The user may be shown text, where it is not empty.
// The error says more where the answer is not NASDone.
func (d *Dynamic) Disconnect(ctx context.Context, rec session.Record, text string) (authz.NASAnswer, error) {
	return d.ask(ctx, radius.CodeDisconnectRequest, &rec, func(p *radius.Packet) error {
		if text == "" {
			return nil
		}
		return rfc2865.ReplyMessage_AddString(p, cut(text, maxText))
	})
}

// Change has a session changed. Its limits count from now on. What only our nodes
// understand is kept from other NAS; if nothing else is left, or if it was a quarantine,
// the answer is NASRefused and nobody is asked.
func (d *Dynamic) Change(ctx context.Context, rec session.Record, to authz.Change) (authz.NASAnswer, error) {
	if !d.node(&rec) {
		if to = understood(to); to == (authz.Change{}) {
			d.s.metrics.dynamic(radius.CodeCoARequest, authz.NASRefused)
			return authz.NASRefused, fmt.Errorf("change session %s: %w", rec.ID, errNoNode)
		}
	}
	return d.ask(ctx, radius.CodeCoARequest, &rec, func(p *radius.Packet) error { return addChange(p, &to) })
}

// node says whether the session is at a node of ours.
func (d *Dynamic) node(rec *session.Record) bool {
	if rec.OurNode || d.s.local.at(rec.Via) != nil { // as it was at the login, or is here
		return true
	}
	c := d.s.state.Load().clients.byName[rec.Via]
	return c != nil && c.Node
}

// understood is what of a change a NAS of another make knows: limits, and a filter that
// it has itself. Who was to be held back is not let go on with longer limits instead.
func understood(c authz.Change) authz.Change {
	if c.Quarantine != nil {
		return authz.Change{}
	}
	c.Bandwidth = nil
	switch {
	case c.Filter == nil:
	case c.Filter.Name == "": // there is no word for it but ours
		c.Filter = nil
	default:
		c.Filter = &authz.FilterChange{Name: c.Filter.Name}
	}
	return c
}

// addChange adds what is to change. A session that is held back has no other filter,
// whatever c says besides.
func addChange(p *radius.Packet, c *authz.Change) error {
	var errs []error
	if c.Session > 0 {
		errs = append(errs, rfc2865.SessionTimeout_Add(p, rfc2865.SessionTimeout(seconds(c.Session))))
	}
	if c.Idle > 0 {
		errs = append(errs, rfc2865.IdleTimeout_Add(p, rfc2865.IdleTimeout(seconds(c.Idle))))
	}
	switch {
	case c.Quarantine != nil:
		errs = append(errs, radius.AddQuarantine(p, c.Quarantine.For, c.Quarantine.URL))
	case c.Filter == nil:
	case c.Filter.Name == "":
		errs = append(errs, rfc2865.FilterID_AddString(p, radius.FilterNone))
	default:
		errs = append(errs, rfc2865.FilterID_AddString(p, c.Filter.Name), radius.AddFilterRules(p, c.Filter.Rules))
	}
	if b := c.Bandwidth; b != nil {
		errs = append(errs, radius.AddBandwidthChange(p, b.Up, b.Down))
	}
	return errors.Join(errs...)
}

// ask tries one way after the other until the NAS has answered.
func (d *Dynamic) ask(ctx context.Context, code radius.Code, rec *session.Record, fill func(*radius.Packet) error) (authz.NASAnswer, error) {
	p := &radius.Packet{Code: code}
	if err := errors.Join(describe(p, rec), fill(p)); err != nil {
		return authz.NASUnknown, fmt.Errorf("ask the NAS of session %s: %w", rec.ID, err)
	}
	var failed []error
	for _, w := range d.ways(rec) {
		reply, err := w.Exchange(ctx, p)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		answer, err := read(reply)
		d.s.metrics.dynamic(code, answer)
		if err != nil {
			err = fmt.Errorf("session %s: %w", rec.ID, err)
		}
		return answer, err
	}
	answer, err := authz.NASNoAnswer, errors.Join(failed...)
	if len(failed) == 0 {
		answer, err = authz.NASNoWay, errNoWay
	}
	d.s.metrics.dynamic(code, answer)
	return answer, fmt.Errorf("ask the NAS of session %s: %w", rec.ID, err)
}

var (
	errNoNode = errors.New("its NAS is no node of ours, and knows nothing of what should change")
	errNoWay  = errors.New("it has no connection to this service, and its client no coa address")
	errGone   = errors.New("the connection ended")
	errBusy   = errors.New("every identifier of the connection waits")
	errLate   = errors.New("no answer on the connection")
)

// describe says which session of which NAS. Acct-Session-Id is enough for that.
// User-Name is not given: a NAS may compare it with what was typed, of which we keep
// the canonical name only. The NAS is named so that another one that is asked by
// mistake says so, and not that it knows no such session.
func describe(p *radius.Packet, rec *session.Record) error {
	err := rfc2866.AcctSessionID_AddString(p, rec.Acct)
	if a, no := netip.ParseAddr(rec.Node); no != nil {
		err = errors.Join(err, rfc2865.NASIdentifier_AddString(p, rec.Node))
	} else if a.Is4() {
		err = errors.Join(err, rfc2865.NASIPAddress_Add(p, a.AsSlice()))
	}
	return errors.Join(err, rfc2869.EventTimestamp_Add(p, time.Now())) // RFC 5176 §6.3
}

// read makes an answer of a reply. Of causes to refuse, some say "not now" (RFC 5176
// §3.5).
func read(reply *radius.Packet) (authz.NASAnswer, error) {
	if reply.Code == radius.CodeDisconnectACK || reply.Code == radius.CodeCoAACK {
		return authz.NASDone, nil
	}
	switch cause := radius.ErrorCause(rfc3576.ErrorCause_Get(reply)); cause {
	case radius.CauseSessionNotFound:
		return authz.NASNotFound, cause
	case radius.CauseNotRoutable, radius.CauseProxyError, radius.CauseResourcesUnavailable:
		return authz.NASNoAnswer, cause
	default:
		return authz.NASRefused, cause
	}
}

// ways are those to the NAS of a session, best first.
func (d *Dynamic) ways(rec *session.Record) []radius.Exchanger {
	var all []radius.Exchanger
	if h := d.s.local.at(rec.Via); h != nil {
		all = append(all, inProcessWay{h})
	}
	c := d.s.state.Load().clients.byName[rec.Via]
	if c == nil {
		return all
	}
	d.s.mu.RLock()
	r := d.s.radsec
	d.s.mu.RUnlock()
	if r != nil {
		for _, conn := range r.to(c, rec.Node) {
			all = append(all, radsecWay{conn, !c.mustSign()})
		}
	}
	if c.CoA != "" {
		all = append(all, &radius.Asker{Addr: c.CoA, Secret: c.Secret, Unsigned: !c.mustSign(), Timeout: dynamicTimeout, Retries: dynamicRetries})
	}
	return all
}

// locals are the NAS in this process, by name.
type locals struct {
	mu sync.Mutex
	of map[string]radius.Handler
}

func (l *locals) at(name string) radius.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[name]
}

// Attach has h asked to end and change the sessions of the NAS in this process that
// has this name: the Name of its Peer.
func (d *Dynamic) Attach(name string, h radius.Handler) {
	l := &d.s.local
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[string]radius.Handler)
	}
	l.of[name] = h
}

// inProcessWay asks a NAS in this process.
type inProcessWay struct{ h radius.Handler }

func (w inProcessWay) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	secret := drawnSecret()
	q := *p
	q.Secret = secret.Bytes()
	req, err := radius.EncodeRequest(&q)
	if err != nil {
		return nil, err
	}
	reply := w.h.ServeRADIUS(ctx, req, radius.Peer{Transport: radius.InProcess, Name: "service", Secret: secret})
	if reply == nil {
		return nil, errors.New("the NAS in this process keeps silent")
	}
	return radius.ParseReply(reply, req, secret)
}
