package radius

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// keepConnected keeps one RadSec connection up for as long as the client lives, with
// growing, jittered waits between attempts.
func (t *target) keepConnected() {
	for wait := reconnectFirst; ; {
		began := time.Now()
		l, err := t.connect()
		if err == nil {
			err = l.watch()
		}
		if t.c.ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		if len(t.links) == 0 {
			t.dieLocked(err)
		}
		t.mu.Unlock()
		if time.Since(began) > reconnectMax { // it was up: a restart, not a refusal
			wait = reconnectFirst
		}
		select {
		case <-t.c.ctx.Done():
			return
		case <-time.After(jittered(wait)):
		}
		wait = min(2*wait, reconnectMax)
	}
}

// growLocked opens one more connection where 256 requests at a time are not enough.
// It is not opened again when it ends.
func (t *target) growLocked(now time.Time) {
	if len(t.links) == 0 || len(t.links) >= t.c.cfg.MaxConns || t.growing || now.Before(t.grow) {
		return
	}
	t.growing = t.c.spawn(func() {
		l, err := t.connect()
		t.mu.Lock()
		t.growing = false
		if err != nil {
			t.grow = time.Now().Add(reconnectMax)
		}
		t.wakeLocked()
		t.mu.Unlock()
		if err == nil {
			err = l.watch()
		}
		t.c.log.Debug("additional RadSec connection ended", "server", t.name, "err", err)
	})
}

// connect opens a connection, and lets it be used when the service has answered a
// Status-Server on it: a frozen process still accepts TCP.
func (t *target) connect() (*link, error) {
	l, err := t.handshake()
	if err != nil {
		return nil, err
	}
	if err := t.status(l); err != nil {
		l.end()
		return nil, fmt.Errorf("Status-Server on a new connection: %w", err)
	}
	t.add(l)
	return l, nil
}

func (t *target) handshake() (*link, error) {
	ctx, cancel := context.WithTimeout(t.c.ctx, handshakeTime)
	defer cancel()
	raw, err := t.c.cfg.Dial(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, t.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("RadSec handshake: %w", err)
	}
	// Close of a TLS connection may wait to say goodbye; this one need not.
	l := t.newLink(&abrupt{conn, raw})
	if t.c.cfg.Reverse != nil {
		l.asked = make(chan []byte, askedRoom)
		if !t.c.spawn(l.serve) {
			_ = raw.Close()
			return nil, ErrClosed
		}
	}
	if !t.c.spawn(l.readStream) {
		l.end()
		return nil, ErrClosed
	}
	return l, nil
}

type abrupt struct {
	net.Conn
	raw net.Conn
}

func (a *abrupt) Close() error { return a.raw.Close() }

// readStream is a RadSec link's goroutine.
func (l *link) readStream() {
	stop := context.AfterFunc(l.t.c.ctx, func() { _ = l.conn.Close() })
	defer stop()
	defer l.end()
	buf := make([]byte, MaxPacket)
	for {
		b, err := ReadPacket(l.conn, buf)
		if err != nil {
			var fault Fault
			if errors.As(err, &fault) {
				l.t.m.dropped[fault].Inc()
			}
			l.t.c.log.Debug("RadSec connection ended", "server", l.t.name, "err", err)
			return
		}
		if l.asked != nil && isRequest(b) {
			// Who reads waits for room, so that TCP makes the service wait, too.
			select {
			case l.asked <- bytes.Clone(b):
			case <-l.gone:
				return
			case <-l.t.c.ctx.Done():
				return
			}
			continue
		}
		l.deliver(b)
	}
}

// askedRoom is how many requests of the service's may wait on a connection, ours.
const askedRoom = 64

// isRequest says whether a packet is none of the replies.
func isRequest(b []byte) bool {
	c := Code(b[offCode])
	return c == CodeDisconnectRequest || c == CodeCoARequest
}

// serve answers what the service asks on the connection that we opened (RFC 5176 the
// other way round): the node needs no port of its own for that, and nobody can ask
// but the services that it is configured with and that have proved who they are.
func (l *link) serve() {
	from := Peer{Transport: RadSec, Name: l.t.name, Secret: l.t.secret}
	if a, err := netip.ParseAddrPort(l.conn.RemoteAddr().String()); err == nil {
		from.Addr = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	for {
		select {
		case req := <-l.asked:
			if reply := l.t.c.cfg.Reverse.ServeRADIUS(l.t.c.ctx, req, from); reply != nil {
				l.write(reply)
			}
		case <-l.gone:
			return
		case <-l.t.c.ctx.Done():
			return
		}
	}
}

// watch is RFC 3539 §3.4.1's watchdog with Status-Server (RFC 6613 §2.6.4): a
// connection that is idle, or that a request stayed unanswered on, is asked, and
// closed if it does not answer. It returns when the connection has ended.
func (l *link) watch() error {
	for {
		l.t.mu.Lock()
		idle := time.Since(l.heard)
		l.t.mu.Unlock()
		timer := time.NewTimer(jittered(max(watchdogIdle-idle, watchdogIdle/10)))
		select {
		case <-l.gone:
			timer.Stop()
			return errLost
		case <-l.doubt:
		case <-timer.C:
			l.t.mu.Lock()
			idle = time.Since(l.heard)
			l.t.mu.Unlock()
			if idle < watchdogIdle-watchdogIdle/10 {
				continue
			}
		}
		timer.Stop()
		if err := l.t.status(l); err != nil {
			l.end()
			return fmt.Errorf("watchdog: %w", err)
		}
	}
}
