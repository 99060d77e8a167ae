// Package tun is where IP packets of sessions enter and leave the host: one TUN
// device for all sessions of a node, made through songgao/water and set up through
// netlink. It also has what is done to an IPv4 packet on the way (RFC 791, RFC
// 9293, RFC 1624).
//
// A packet is an IPv4 datagram and nothing in front of it (IFF_NO_PI).
// Left out: offload (several segments a system call) and more than one queue; the
// batch in Device is made for both.
package tun

import (
	"errors"
	"fmt"
	"net/netip"
)

// Device moves IP packets in batches between the node and a host's IP stack. One
// goroutine may read while others write.
//
// ReadBatch blocks until there is a packet, reads packets to bufs[i][offset:] and
// sets sizes[i]; it returns how many there are. WriteBatch sends the packets
// bufs[i][offset:] to the host and returns how many it took; those it did not take
// are skipped. An error means that the device is of no more use. After Close it is
// net.ErrClosed, also for a call that was blocked.
type Device interface {
	Name() string
	MTU() int
	ReadBatch(bufs [][]byte, sizes []int, offset int) (int, error)
	WriteBatch(bufs [][]byte, offset int) (int, error)
	Close() error
}

// Router is a Device that the host's routes can be led to. Close removes them.
// A route that exists already, by whomever it was made, is not taken over: the
// error is syscall.EEXIST then.
type Router interface {
	AddRoute(netip.Prefix) error
	DelRoute(netip.Prefix) error
}

// Fixed by Linux and by RFC 791 §3.2.
const (
	maxName = 15
	minMTU  = 68
	maxMTU  = 65535
)

func check(name string, mtu int, addr netip.Addr, routes []netip.Prefix) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("tun: device name %q: 1 to %d octets wanted", name, maxName)
	}
	if mtu < minMTU || mtu > maxMTU {
		return fmt.Errorf("tun: MTU %d of %s: %d to %d wanted", mtu, name, minMTU, maxMTU)
	}
	if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
		return fmt.Errorf("tun: address %v of %s: IPv4 address of a host wanted", addr, name)
	}
	var errs []error
	for _, r := range routes {
		errs = append(errs, checkRoute(r))
	}
	return errors.Join(errs...)
}

func checkRoute(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() || p != p.Masked() {
		return fmt.Errorf("tun: route to %v: IPv4 prefix without host bits wanted", p)
	}
	return nil
}
