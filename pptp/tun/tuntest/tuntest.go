// Package tuntest has a tun.Device (RFC 791 packets in batches) without a kernel:
// two ends, and what is written to one is read from the other. It blocks on
// channels only, so that it works on testing/synctest's clock.
//
// Left out: what a kernel does between the two, such as routing; AddRoute only
// remembers.
package tuntest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// Device is one end of a pair. It implements tun.Device and tun.Router.
type Device struct {
	name    string
	mtu     int
	in, out chan []byte
	free    chan []byte // buffers to use again, of both directions
	closed  chan struct{}
	closing sync.Once
	dropped atomic.Uint64

	mu     sync.Mutex
	routes []netip.Prefix
}

// Pair makes two ends, "a" and "b", that hold up to depth packets a direction.
// Under testing/synctest it must be called inside the bubble.
func Pair(mtu, depth int) (a, b *Device) {
	ab, ba, free := make(chan []byte, depth), make(chan []byte, depth), make(chan []byte, 2*depth)
	a = &Device{name: "a", mtu: mtu, in: ba, out: ab, free: free, closed: make(chan struct{})}
	b = &Device{name: "b", mtu: mtu, in: ab, out: ba, free: free, closed: make(chan struct{})}
	return a, b
}

// Name implements tun.Device.
func (d *Device) Name() string { return d.name }

// MTU implements tun.Device.
func (d *Device) MTU() int { return d.mtu }

// ReadBatch implements tun.Device. A packet longer than its buffer is cut off.
func (d *Device) ReadBatch(bufs [][]byte, sizes []int, offset int) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	select {
	case <-d.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case <-d.closed:
		return 0, net.ErrClosed
	case p := <-d.in:
		sizes[0] = d.take(bufs[0][offset:], p)
	}
	n := 1
	for n < len(bufs) {
		select {
		case p := <-d.in:
			sizes[n] = d.take(bufs[n][offset:], p)
			n++
		default:
			return n, nil
		}
	}
	return n, nil
}

func (d *Device) take(dst, p []byte) int {
	n := copy(dst, p)
	select {
	case d.free <- p:
	default:
	}
	return n
}

// WriteBatch implements tun.Device. A packet for which the other end has no room,
// or that is longer than the MTU, is dropped and counted.
func (d *Device) WriteBatch(bufs [][]byte, offset int) (int, error) {
	n := 0
	for _, b := range bufs {
		select {
		case <-d.closed:
			return n, net.ErrClosed
		default:
		}
		if d.put(b[offset:]) {
			n++
		} else {
			d.dropped.Add(1)
		}
	}
	return n, nil
}

func (d *Device) put(packet []byte) bool {
	if len(packet) > d.mtu {
		return false
	}
	var p []byte
	select {
	case p = <-d.free:
	default:
		p = make([]byte, 0, d.mtu)
	}
	p = append(p[:0], packet...)
	select {
	case d.out <- p:
		return true
	default:
		d.take(nil, p)
		return false
	}
}

// Dropped counts the packets written to this end and not taken.
func (d *Device) Dropped() uint64 { return d.dropped.Load() }

// Close implements tun.Device. The other end stays open.
func (d *Device) Close() error {
	err := net.ErrClosed
	d.closing.Do(func() {
		close(d.closed)
		err = nil
	})
	return err
}

// AddRoute implements tun.Router.
func (d *Device) AddRoute(p netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.routes, p) {
		return syscall.EEXIST
	}
	d.routes = append(d.routes, p)
	return nil
}

// DelRoute implements tun.Router.
func (d *Device) DelRoute(p netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.routes, p)
	if i < 0 {
		return syscall.ESRCH
	}
	d.routes = slices.Delete(d.routes, i, i+1)
	return nil
}

// Routes is what AddRoute was called with, less what DelRoute was.
func (d *Device) Routes() []netip.Prefix {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.routes)
}
