package radius

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"
)

const (
	// dynamicWindow is how far a request's Event-Timestamp may be from our clock (RFC
	// 5176 §6.3 names 300 s); for as long a request is known again.
	dynamicWindow = 300 * time.Second
	// dynamicKeep is the same for requests without one.
	dynamicKeep = 30 * time.Second
	// dynamicAnswers bounds what is remembered. Only who can sign can fill it.
	dynamicAnswers = 1 << 16
	warnEvery      = 10 * time.Second
)

// DynamicConfig is what a Dynamic works with.
type DynamicConfig struct {
	// CarryOut does what a believed request asks for. nil is an ACK, an error a NAK:
	// with its ErrorCause, if it is one. It is called from many goroutines.
	CarryOut func(ctx context.Context, p *Packet) error

	Now     func() time.Time      // nil: time.Now
	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Dynamic is a NAS's side of RFC 5176: the Handler of Disconnect-Request and
// CoA-Request. What is not signed, not from a client, or not of these minutes is
// dropped and counted; who cannot sign learns nothing. The same request gets the same
// answer again, and is not carried out twice: that is a repetition (RFC 5080 §2.2.2),
// or somebody's replay.
//
// Over UDP a request must carry Event-Timestamp, for it is all that tells a replay
// after the answer was forgotten. TLS has sequence numbers of its own.
type Dynamic struct {
	cfg      DynamicConfig
	log      *slog.Logger
	m        *dynamicMetrics
	answered answered
	warned   atomic.Int64 // Unix nanoseconds: of the last line about clocks
}

// NewDynamic makes a Dynamic.
func NewDynamic(cfg DynamicConfig) (*Dynamic, error) {
	if cfg.CarryOut == nil {
		return nil, errors.New("radius: a Dynamic carries nothing out")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newDynamicMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	return &Dynamic{cfg: cfg, log: cfg.Log, m: m}, nil
}

// ServeRADIUS implements Handler. Who from is has been found out: a client's Secret
// must be in it.
func (d *Dynamic) ServeRADIUS(ctx context.Context, req []byte, from Peer) []byte {
	reply, err := d.serve(ctx, req, &from)
	if err != nil {
		d.drop(&from, err)
		return nil
	}
	return reply
}

func (d *Dynamic) serve(ctx context.Context, req []byte, from *Peer) (reply []byte, err error) {
	s, err := Inspect(req)
	if err != nil {
		return nil, err
	}
	if s.Code != CodeDisconnectRequest && s.Code != CodeCoARequest {
		return nil, FaultCode
	}
	p, err := ParseRequest(req, from.Secret, true)
	if err != nil {
		return nil, err
	}
	now := d.cfg.Now()
	until := now.Add(dynamicKeep)
	at, timed := eventTimestamp(p)
	if timed {
		if age := now.Sub(at); age > dynamicWindow || age < -dynamicWindow {
			d.warnOfClocks(now, from, age)
			return nil, discardStale
		}
		until = at.Add(dynamicWindow)
	}
	key := question{via: from.Transport, code: p.Code, id: p.Identifier, auth: p.Authenticator}
	switch before, known := d.answered.begin(now, key); known {
	case knownAnswered:
		d.m.repeated.WithLabelValues(from.Transport.String()).Inc()
		return before, nil
	case knownInWork:
		return nil, discardInWork
	case knownFull:
		return d.reply(p, from, CauseResourcesUnavailable)
	case knownNot:
	}
	defer func() { d.answered.finish(key, reply, until) }() // nil, while a panic passes: forgotten
	defer d.rescue(&err)
	if !timed && from.Transport == UDP {
		return d.reply(p, from, CauseMissingAttribute)
	}
	return d.reply(p, from, d.cfg.CarryOut(ctx, p))
}

// reply makes the ACK, or the NAK that says why.
func (d *Dynamic) reply(p *Packet, from *Peer, refusal error) ([]byte, error) {
	ack, nak := CodeDisconnectACK, CodeDisconnectNAK
	if p.Code == CodeCoARequest {
		ack, nak = CodeCoAACK, CodeCoANAK
	}
	answer, outcome := NewReply(p, ack), "ack"
	if refusal != nil {
		cause := CauseResourcesUnavailable
		errors.As(refusal, &cause)
		answer, outcome = NewReply(p, nak), cause.String()
		if err := rfc3576.ErrorCause_Add(answer, rfc3576.ErrorCause(cause)); err != nil {
			return nil, err
		}
	}
	b, err := EncodeReply(answer, p)
	if err != nil { // more Proxy-State than fits
		return nil, fmt.Errorf("%w: %w", discardUnencodable, err)
	}
	d.m.requests.WithLabelValues(from.Transport.String(), requestName(p.Code), outcome).Inc()
	d.log.Debug("dynamic authorization", "request", requestName(p.Code), "peer", from.Addr, "name", from.Name, "outcome", outcome)
	return b, nil
}

func requestName(c Code) string {
	if c == CodeCoARequest {
		return "coa"
	}
	return "disconnect"
}

// eventTimestamp is when p says that it was made; false if it does not, or badly.
func eventTimestamp(p *Packet) (time.Time, bool) {
	at, err := rfc2869.EventTimestamp_Lookup(p)
	return at, err == nil
}

// rescue keeps a fault of ours in one request from ending all sessions.
func (d *Dynamic) rescue(err *error) {
	if v := recover(); v != nil {
		d.log.Error("panic while serving a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		*err = discardPanic
	}
}

// drop counts what gets no answer.
func (d *Dynamic) drop(from *Peer, why error) {
	d.m.drop(from.Transport, why)
	d.log.Debug("dynamic authorization dropped", "peer", from.Addr, "name", from.Name, "reason", why)
}

// warnOfClocks tells the operator of what looks like a replay and mostly is a clock.
func (d *Dynamic) warnOfClocks(now time.Time, from *Peer, age time.Duration) {
	last := d.warned.Load()
	if now.UnixNano()-last >= int64(warnEvery) && d.warned.CompareAndSwap(last, now.UnixNano()) {
		d.log.Warn("a signed request to end or change a session is dropped: its time is far from ours, so it is a replay, or a clock is wrong",
			"peer", from.Addr, "name", from.Name, "age", age.Round(time.Second))
	}
}
