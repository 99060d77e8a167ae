package radius

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DynamicClient may send requests of RFC 5176 over UDP.
type DynamicClient struct {
	Network netip.Prefix
	Secret  Secret
}

// DynamicListener is the UDP port of a Dynamic (RFC 5176 §2.3: 3799). One goroutine
// serves it; what it is asked for is quick.
type DynamicListener struct {
	d       *Dynamic
	conn    *net.UDPConn
	clients atomic.Pointer[[]DynamicClient] // longest prefix first
	closed  atomic.Bool
	wg      sync.WaitGroup
}

// ListenDynamic opens the port. The address must be one of the host's: an answer from
// another one than was asked would not be believed.
func ListenDynamic(address netip.AddrPort, d *Dynamic, clients []DynamicClient) (*DynamicListener, error) {
	if !address.IsValid() || address.Addr().IsUnspecified() {
		return nil, fmt.Errorf("listen for dynamic authorization on %v: not an address of this host", address)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	if err != nil {
		return nil, fmt.Errorf("listen for dynamic authorization: %w", err)
	}
	l := &DynamicListener{d: d, conn: conn}
	l.SetClients(clients)
	l.wg.Go(l.serve) // Close waits
	return l, nil
}

// SetClients replaces those who may ask.
func (l *DynamicListener) SetClients(clients []DynamicClient) {
	clients = slices.Clone(clients)
	slices.SortStableFunc(clients, func(a, b DynamicClient) int { return b.Network.Bits() - a.Network.Bits() })
	l.clients.Store(&clients)
}

// Addr is where it listens.
func (l *DynamicListener) Addr() netip.AddrPort {
	a, _ := netip.ParseAddrPort(l.conn.LocalAddr().String())
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Close ends it; nothing of it is left afterwards.
func (l *DynamicListener) Close() {
	l.closed.Store(true)
	_ = l.conn.Close()
	l.wg.Wait()
}

func (l *DynamicListener) secret(a netip.Addr) (Secret, bool) {
	for _, c := range *l.clients.Load() {
		if c.Network.Contains(a) {
			return c.Secret, true
		}
	}
	return Secret{}, false
}

// serve is the listener's goroutine. Errors of reading are ICMP messages', which
// anybody can send, or a lack of memory that passes.
func (l *DynamicListener) serve() {
	buf := make([]byte, MaxPacket)
	for {
		n, addr, err := l.conn.ReadFromUDPAddrPort(buf)
		if l.closed.Load() || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		from := Peer{Addr: netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), Transport: UDP}
		secret, ok := l.secret(from.Addr.Addr())
		if !ok {
			l.d.drop(&from, discardNoClient)
			continue
		}
		from.Secret = secret
		if reply := l.d.ServeRADIUS(context.Background(), buf[:n], from); reply != nil {
			_, _ = l.conn.WriteToUDPAddrPort(reply, addr) // lost: it is asked again
		}
	}
}
