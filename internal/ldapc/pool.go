package ldapc

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// pool is the connections to one server. It is safe for concurrent use.
type pool struct {
	cfg        *Config
	host, addr string
	tls        *tls.Config
	dial       func(ctx context.Context, addr string) (net.Conn, error)

	slots chan struct{}  // one taken for each connection in use
	kdc   chan struct{}  // one taken while a ticket is fetched
	work  sync.WaitGroup // for that

	mu       sync.Mutex
	idle     []*conn // the one used last at the end
	busy     map[*conn]struct{}
	reaper   *time.Timer // closes idle ones; nil: none is idle
	refusals refusals
	closed   bool
}

func newPool(cfg *Config, server string, dial func(ctx context.Context, addr string) (net.Conn, error)) (*pool, error) {
	host, addr, err := cfg.address(server)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", server, err)
	}
	name := cfg.ServerName
	if name == "" {
		name = host
	}
	p := &pool{
		cfg: cfg, host: host, addr: addr, dial: dial,
		tls: &tls.Config{
			ServerName: name, RootCAs: cfg.CA, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(1), // the same checks, half the work
		},
		slots: make(chan struct{}, cfg.Conns), kdc: make(chan struct{}, 1), busy: make(map[*conn]struct{}),
	}
	p.refusals.pool = p
	rand.Read(p.refusals.key[:])
	return p, nil
}

var errClosed = errors.New("closed")

// slot takes one of the places for connections in use. The caller gives it back.
func (p *pool) slot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are in use: %w", cap(p.slots), context.Cause(ctx))
	}
}

// get returns a bound connection, for put. With fresh it is a new one.
func (p *pool) get(ctx context.Context, fresh bool) (*conn, error) {
	if err := p.slot(ctx); err != nil {
		return nil, err
	}
	c, err := p.getIn(ctx, fresh)
	if err != nil {
		<-p.slots
	}
	return c, err
}

func (p *pool) getIn(ctx context.Context, fresh bool) (*conn, error) {
	if !fresh {
		c, err := p.rested(ctx)
		if c != nil || err != nil {
			return c, err
		}
	}
	c, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.bind(ctx, c); err != nil {
		c.broken = true
		c.close()
		return nil, err
	}
	if !p.lend(c) {
		c.close()
		return nil, errClosed
	}
	return c, nil
}

// lend notes a connection as in use.
func (p *pool) lend(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.busy[c] = struct{}{}
	return true
}

// rested returns a connection that was used before and is still good; nil: there is
// none.
func (p *pool) rested(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if len(p.idle) == 0 {
		p.mu.Unlock()
		return nil, nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	p.busy[c] = struct{}{}
	p.mu.Unlock()

	c.reused = true
	if time.Since(c.used) < checkAfter && !c.ldap.IsClosing() {
		return c, nil
	}
	if p.healthy(ctx, c) {
		return c, nil
	}
	// The others are as old or older.
	c.broken = true
	p.drop(c)
	p.flush()
	return nil, nil
}

// healthy looks whether a connection still works.
func (p *pool) healthy(ctx context.Context, c *conn) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	_, err := c.search(ctx, &Search{Scope: ldap.ScopeBaseObject, Filter: present, Attributes: []string{noAttributes}, Limit: 1})
	return !silent(err) && !c.broken // a server may hide its root DSE
}

// put gives a connection back.
func (p *pool) put(c *conn) {
	defer func() { <-p.slots }()
	p.mu.Lock()
	if c.broken || p.closed || c.ldap.IsClosing() {
		p.mu.Unlock()
		p.drop(c)
		return
	}
	delete(p.busy, c)
	c.used = time.Now()
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.cfg.Idle, p.reap)
	}
	p.mu.Unlock()
}

// drop closes a connection that is in use.
func (p *pool) drop(c *conn) {
	p.mu.Lock()
	delete(p.busy, c)
	p.mu.Unlock()
	c.close()
}

// reap closes the connections that nobody has used for long.
func (p *pool) reap() {
	p.mu.Lock()
	now := time.Now()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].used) >= p.cfg.Idle {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	p.reaper = nil
	if len(p.idle) > 0 {
		p.reaper = time.AfterFunc(p.idle[0].used.Add(p.cfg.Idle).Sub(now), p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// flush closes all connections that are not in use.
func (p *pool) flush() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// close ends all connections and waits for what runs beside them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
	for c := range p.busy {
		c.raw.Close() // whoever uses it closes the rest
	}
	p.mu.Unlock()
	p.flush()
	p.work.Wait()
}
