package ldapc

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// conn is a connection. One goroutine at a time uses it.
type conn struct {
	ldap   *ldap.Conn
	raw    net.Conn
	meter  *meter
	check  Checked   // how it came about
	used   time.Time // when it was put back
	reused bool      // another request had it before
	broken bool      // not to be used again
}

// meter ends a connection that says more than an answer may be long: go-ldap keeps
// all of it in memory, several times over.
type meter struct {
	net.Conn
	left atomic.Int64
}

var errTooLong = errors.New("the answer is too long")

// Read implements net.Conn.
func (m *meter) Read(b []byte) (int, error) {
	if m.left.Load() <= 0 {
		return 0, errTooLong
	}
	n, err := m.Conn.Read(b)
	m.left.Add(-int64(n))
	return n, err
}

// newConn starts go-ldap on a connection that is past TLS.
func newConn(raw, secured net.Conn) *conn {
	c := &conn{raw: raw, meter: &meter{Conn: secured}}
	c.meter.left.Store(maxAnswer)
	c.ldap = ldap.NewConn(c.meter, true)
	c.ldap.Start()
	return c
}

// do makes one request. go-ldap waits for ever: when ctx ends first, the connection
// is closed under it, and is of no use any more.
func (c *conn) do(ctx context.Context, f func(l *ldap.Conn) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c.meter.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	err := f(c.ldap)
	if !stop() {
		c.broken = true
		if err != nil {
			return context.Cause(ctx)
		}
	}
	if silent(err) {
		c.broken = true
		if c.meter.left.Load() <= 0 {
			return errTooLong
		}
	}
	return err
}

// goodbye is how long a server may take to take one, ours.
const goodbye = 100 * time.Millisecond

// close says good-bye where that makes sense (RFC 4511 §4.3), and takes no time.
func (c *conn) close() {
	if c.broken || c.raw.SetDeadline(time.Now().Add(goodbye)) != nil || c.ldap.Unbind() != nil {
		c.raw.Close()
		c.ldap.Close()
	}
}
