package ldapc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
)

// Client asks the servers of one directory. It is safe for concurrent use.
type Client struct {
	cfg   Config
	group *failover.Group
	dial  func(ctx context.Context, addr string) (net.Conn, error)

	mu     sync.Mutex
	pools  map[string]*pool
	closed bool
}

// New makes a Client. It connects when there is something to ask.
func New(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("new LDAP client: %w", err)
	}
	return &Client{
		cfg: cfg, dial: dialTCP, pools: make(map[string]*pool),
		group: failover.New(failover.Config{
			Name: cfg.Name, Servers: cfg.Servers, Discover: cfg.Discover, Attempt: cfg.Timeout, Log: cfg.Log, OnChange: cfg.OnChange,
		}),
	}, nil
}

// Close ends the connections, also those in use.
func (c *Client) Close() {
	c.group.Close()
	c.mu.Lock()
	pools := c.pools
	c.pools, c.closed = nil, true
	c.mu.Unlock()
	for _, p := range pools {
		p.close()
	}
}

// Status returns what is known of the servers.
func (c *Client) Status() []failover.ServerState { return c.group.Status() }

func (c *Client) pool(server string) (*pool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if p := c.pools[server]; p != nil {
		return p, nil
	}
	p, err := newPool(&c.cfg, server, c.dial)
	if err == nil {
		c.pools[server] = p
	}
	return p, err
}

// do asks one server after the other until one answers.
func (c *Client) do(ctx context.Context, doing string, f func(ctx context.Context, p *pool) error) error {
	err := c.group.Do(ctx, func(ctx context.Context, server string) error {
		p, err := c.pool(server)
		if err == nil {
			err = f(ctx, p)
		}
		if unanswered(err) {
			return failover.Away(err)
		}
		return err
	})
	var sent *Unavailable
	switch {
	case err == nil, errors.As(err, &sent):
		return err
	case failover.IsAway(err):
		return &Unavailable{Doing: doing, Err: err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// unanswered says whether another server may be asked.
func unanswered(err error) bool {
	var sent *Unavailable
	if err == nil || errors.As(err, &sent) {
		return false
	}
	var refused *BindRefused
	return errors.As(err, &refused) || failover.IsAway(err) || silent(err)
}

// once makes a request that must not be repeated, on a connection of its own. Until
// the connection is there another server may be tried.
func (c *Client) once(ctx context.Context, doing string, bound bool, f func(l *ldap.Conn) error) error {
	return c.do(ctx, doing, func(ctx context.Context, p *pool) error {
		if err := p.slot(ctx); err != nil {
			return err
		}
		defer func() { <-p.slots }()
		conn, err := p.connect(ctx)
		if err != nil {
			return err
		}
		if !p.lend(conn) {
			conn.close()
			return errClosed
		}
		defer p.drop(conn)
		if bound {
			if err := p.bind(ctx, conn); err != nil {
				return err
			}
		}
		if err = conn.do(ctx, f); silent(err) {
			return &Unavailable{Doing: doing, Sent: true, Err: fmt.Errorf("%s: %w", p.host, err)}
		}
		return err
	})
}

// Checked is how a server's connection came about.
type Checked struct {
	Server, Address string
	TLS             string            // version; "": none
	Certificate     *x509.Certificate // nil: none
	Connect, Bind   time.Duration     // Connect is with TLS
	RootDSE         *Entry            // nil: the server hides it
}

// Check makes a new connection to a server, whatever is known of it, and asks it
// for its root DSE. What it found out before an error comes with it.
func (c *Client) Check(ctx context.Context, server string) (Checked, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	doing := "check " + server
	p, err := c.pool(server)
	if err != nil {
		return Checked{Server: server}, &Unavailable{Doing: doing, Err: err}
	}
	conn, err := p.connect(ctx)
	if err != nil {
		return Checked{Server: p.host}, &Unavailable{Doing: doing, Err: err}
	}
	defer conn.close()
	if err := p.bind(ctx, conn); err != nil {
		return conn.check, &Unavailable{Doing: doing, Err: err}
	}
	entries, err := conn.search(ctx, rootDSE)
	if err == nil && len(entries) == 1 {
		conn.check.RootDSE = entries[0]
	}
	if silent(err) {
		return conn.check, &Unavailable{Doing: doing, Err: err}
	}
	return conn.check, nil
}
