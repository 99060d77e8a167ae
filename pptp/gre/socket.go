package gre

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/net/ipv4"
)

// Chosen by us.
const (
	// batchSize is how many packets one system call moves at most.
	batchSize = 64

	// socketBuffer rides out 20 ms of 10 Gbit/s while the reader is elsewhere.
	socketBuffer = 4 << 20

	// maxErrors is how many reads in a row may fail for reasons that pass before
	// we conclude that this one does not.
	maxErrors = 1000
)

// Socket is the Conn that Listen returns.
type Socket struct {
	ip        *net.IPConn
	in, out   *ipv4.PacketConn
	closed    atomic.Bool
	batches   sync.Pool // of *batch: any number may write at once
	malformed atomic.Uint64
	ioErrors  atomic.Uint64
	unsent    atomic.Uint64
}

// Drops is what a Socket had to leave out since it was opened.
type Drops struct {
	Malformed uint64 // received, but no whole IPv4 datagram with GRE, or longer than its buffer
	Errors    uint64 // reads that failed, as when an ICMP message came in
	Unsent    uint64 // packets the kernel did not take: no route, a firewall, no memory
}

// batch is what x/net wants for one system call.
type batch struct {
	ms      [batchSize]ipv4.Message
	buffers [batchSize][2][]byte
	headers [batchSize][ipv4Header]byte
	addrs   [batchSize]net.IPAddr
	ips     [batchSize][4]byte
}

// Listen opens a raw socket for GRE on an IPv4 address of this host; unspecified
// is all of them. It needs CAP_NET_RAW. The Conn is a *Socket.
//
// As long as the socket is open the kernel answers no GRE packet with ICMP
// protocol unreachable, which would tell a client that we are gone.
func Listen(local netip.Addr) (Conn, error) {
	if !local.Is4() {
		return nil, fmt.Errorf("gre: listen on %v: not an IPv4 address", local)
	}
	ip, err := net.ListenIP("ip4:47", &net.IPAddr{IP: local.AsSlice()})
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("gre: raw socket (needs root or CAP_NET_RAW): %w", err)
		}
		return nil, fmt.Errorf("gre: raw socket: %w", err)
	}
	if err := configure(ip); err != nil {
		return nil, errors.Join(fmt.Errorf("gre: raw socket: %w", err), ip.Close())
	}
	return &Socket{
		ip: ip, in: ipv4.NewPacketConn(unaddressed{ip}), out: ipv4.NewPacketConn(ip),
		batches: sync.Pool{New: func() any { return newBatch() }},
	}, nil
}

// configure sets large buffers and lets the network fragment what we send: if
// routers that drop ICMP made a black hole of path MTU discovery, a tunnel would
// carry pings and hang with every download.
func configure(ip *net.IPConn) error {
	raw, err := ip.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		// The forced form passes net.core.rmem_max, but wants CAP_NET_ADMIN. How
		// much we are granted without it is the administrator's affair.
		for _, opt := range [...][2]int{{syscall.SO_RCVBUFFORCE, syscall.SO_RCVBUF}, {syscall.SO_SNDBUFFORCE, syscall.SO_SNDBUF}} {
			if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, opt[0], socketBuffer) != nil {
				failed = errors.Join(failed, syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, opt[1], socketBuffer))
			}
		}
		failed = errors.Join(failed,
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DONT))
	})
	return errors.Join(err, failed)
}

// unaddressed makes x/net take the socket for TCP's, which has SetLinger, and not
// build a net.Addr for each packet, two allocations. The address is in the IPv4
// header. Should x/net look closer one day, all that is lost is those two.
type unaddressed struct{ *net.IPConn }

func (unaddressed) SetLinger(int) error { return syscall.ENOPROTOOPT }

func newBatch() *batch {
	b := new(batch)
	for i := range b.ms {
		b.buffers[i][0] = b.headers[i][:]
		b.addrs[i].IP = b.ips[i][:]
	}
	return b
}

// put keeps no reference to the caller's buffers.
func (s *Socket) put(b *batch, n int) {
	for i := range n {
		b.buffers[i][1] = nil
		b.ms[i] = ipv4.Message{}
	}
	s.batches.Put(b)
}

// ReadBatch implements Conn.
func (s *Socket) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	ms = ms[:min(len(ms), batchSize)]
	b := s.batches.Get().(*batch)
	defer s.put(b, len(ms))
	for failed := 0; ; {
		for i := range ms {
			b.buffers[i][1] = ms[i].Buf
			b.ms[i] = ipv4.Message{Buffers: b.buffers[i][:]}
		}
		n, err := s.in.ReadBatch(b.ms[:len(ms)], 0)
		if err != nil {
			s.ioErrors.Add(1)
			if failed++; s.fatal(err) || failed == maxErrors {
				return 0, s.cause("read", err)
			}
			continue
		}
		failed = 0
		if kept := s.keep(ms, b, n); kept > 0 {
			return kept, nil
		}
	}
}

// keep takes the IPv4 headers off n datagrams and moves those that are whole to
// the front of ms.
func (s *Socket) keep(ms []Message, b *batch, n int) int {
	kept := 0
	for i := range n {
		size, ok := strip(&b.headers[i], ms[i].Buf, b.ms[i].N, b.ms[i].Flags)
		if !ok {
			s.malformed.Add(1)
			continue
		}
		ms[kept].Buf, ms[i].Buf = ms[i].Buf, ms[kept].Buf
		ms[kept].N, ms[kept].Addr = size, sourceIPv4(b.headers[i][:])
		kept++
	}
	return kept
}

// strip judges a datagram of n octets, the first 20 of which are in header and the
// others in rest, and returns how long its GRE packet is, now at rest's beginning.
func strip(header *[ipv4Header]byte, rest []byte, n, flags int) (int, bool) {
	if n < ipv4Header || flags&syscall.MSG_TRUNC != 0 {
		return 0, false
	}
	hn, err := checkIPv4(header[:], n)
	if err != nil {
		return 0, false
	}
	rest = rest[:n-ipv4Header]
	if options := hn - ipv4Header; options > 0 {
		copy(rest, rest[options:])
	}
	return n - hn, true
}

// WriteBatch implements Conn.
func (s *Socket) WriteBatch(ms []Message) (int, error) {
	sent := 0
	for len(ms) > 0 {
		n := min(len(ms), batchSize)
		done, err := s.write(ms[:n])
		sent += done
		if err != nil {
			return sent, err
		}
		ms = ms[n:]
	}
	return sent, nil
}

func (s *Socket) write(ms []Message) (int, error) {
	b := s.batches.Get().(*batch)
	defer s.put(b, len(ms))
	n := 0
	for i := range ms {
		if !ms[i].Addr.Is4() {
			s.unsent.Add(1)
			continue
		}
		b.ips[n] = ms[i].Addr.As4()
		b.buffers[n][1] = ms[i].Buf[:ms[i].N]
		b.ms[n] = ipv4.Message{Buffers: b.buffers[n][1:], Addr: &b.addrs[n]}
		n++
	}
	sent := 0
	for at := 0; at < n; {
		done, err := s.out.WriteBatch(b.ms[at:n], 0)
		if err == nil {
			sent += done
			at += done
			continue
		}
		if s.fatal(err) {
			return sent, s.cause("write", err)
		}
		// The kernel reports the error of the first packet it was given only.
		s.unsent.Add(1)
		at++
	}
	return sent, nil
}

// fatal says whether the socket is of no more use. Anything else concerns one
// packet: a firewall's EPERM, a route's ENETUNREACH, the ECONNREFUSED that
// someone's ICMP message makes.
func (s *Socket) fatal(err error) bool {
	return s.closed.Load() || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.EBADF) || errors.Is(err, syscall.ENOTSOCK)
}

func (s *Socket) cause(what string, err error) error {
	if s.closed.Load() {
		return net.ErrClosed
	}
	return fmt.Errorf("gre: %s: %w", what, err)
}

// Close implements Conn.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	return s.ip.Close()
}

// Drops counts from the beginning. It may be called at any time.
func (s *Socket) Drops() Drops {
	return Drops{s.malformed.Load(), s.ioErrors.Load(), s.unsent.Load()}
}
