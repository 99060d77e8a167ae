package portal

import (
	"net"
	"net/netip"
	"sync"
)

// bounded is a listener with a limit of open connections, in all and of one address.
// What comes beyond is closed at once: an attacker of one address must not keep the
// others out.
type bounded struct {
	net.Listener
	limits  func() (all, each int)
	refused func()

	mu   sync.Mutex
	open int
	of   map[netip.Addr]int
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := remote(c.RemoteAddr().String())
		if b.enter(from) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		b.refused()
		_ = c.Close()
	}
}

func (b *bounded) enter(from netip.Addr) bool {
	all, each := b.limits()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= all || b.of[from] >= each {
		return false
	}
	if b.of == nil {
		b.of = make(map[netip.Addr]int)
	}
	b.open++
	b.of[from]++
	return true
}

func (b *bounded) leave(from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.of[from]--; b.of[from] == 0 {
		delete(b.of, from)
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// remote is the address of a peer; the zero Addr where there is none to be had.
func remote(hostport string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
