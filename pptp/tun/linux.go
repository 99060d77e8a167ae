package tun

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
)

// device is a TUN device of the network namespace it was opened in.
type device struct {
	file    *water.Interface
	raw     syscall.RawConn
	mu      sync.Mutex      // guards netlink against Close
	netlink *netlink.Handle // keeps that namespace, whatever thread calls
	link    netlink.Link
	mtu     int
	closed  atomic.Bool
	reading sync.Mutex
	read    reader
}

// reader holds one ReadBatch's arguments for the function that the runtime's
// poller calls: a closure would be allocated for every batch.
type reader struct {
	call   func(fd uintptr) bool
	bufs   [][]byte
	sizes  []int
	offset int
	n      int
	err    error
}

// Open makes a TUN device, gives it the address as a /32, sets it up and leads the
// routes to it. All of this goes when the Device, which is a Router as well, is
// closed, or when the process ends. It needs CAP_NET_ADMIN and /dev/net/tun.
func Open(name string, mtu int, addr netip.Addr, routes []netip.Prefix) (Device, error) {
	if err := check(name, mtu, addr, routes); err != nil {
		return nil, err
	}
	nl, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("tun: netlink: %w", err)
	}
	d := &device{netlink: nl, mtu: mtu}
	err = d.open(name)
	if err == nil {
		err = d.setUp(name, addr, routes)
	}
	if err != nil {
		if d.file != nil {
			err = errors.Join(err, d.file.Close())
		}
		nl.Close()
		return nil, err
	}
	return d, nil
}

func (d *device) open(name string) error {
	// TUNSETIFF would join a device that someone left there for himself.
	if _, err := d.netlink.LinkByName(name); err == nil {
		return fmt.Errorf("tun: device %s: %w", name, os.ErrExist)
	}
	// A process started meanwhile would inherit the file and keep the device after
	// we closed it: water opens it without O_CLOEXEC.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := water.New(water.Config{
		DeviceType:             water.TUN,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name},
	})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("tun: no /dev/net/tun; load the module tun, or pass the device into the container: %w", err)
	case errors.Is(err, syscall.EACCES): // from the file; the kernel's own word is EPERM
		return fmt.Errorf("tun: /dev/net/tun is closed to this user; chmod 0666, as udev has it: %w", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("tun: device %s needs root or CAP_NET_ADMIN: %w", name, err)
	case err != nil:
		return fmt.Errorf("tun: device %s: %w", name, err)
	}
	d.file = file
	conn, ok := file.ReadWriteCloser.(syscall.Conn)
	if !ok {
		return fmt.Errorf("tun: device %s cannot be polled", name)
	}
	if d.raw, err = conn.SyscallConn(); err != nil {
		return fmt.Errorf("tun: device %s: %w", name, err)
	}
	d.read.call = d.read.batch
	if err := d.raw.Control(func(fd uintptr) { syscall.CloseOnExec(int(fd)) }); err != nil {
		return fmt.Errorf("tun: device %s: %w", name, err)
	}
	return nil
}

func (d *device) setUp(name string, addr netip.Addr, routes []netip.Prefix) (err error) {
	if d.link, err = d.netlink.LinkByName(name); err != nil {
		return fmt.Errorf("tun: device %s: %w", name, err)
	}
	if err := d.netlink.LinkSetMTU(d.link, d.mtu); err != nil {
		return fmt.Errorf("tun: MTU %d of %s: %w", d.mtu, name, err)
	}
	host := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, addr.BitLen()))}
	if err := d.netlink.AddrAdd(d.link, host); err != nil {
		return fmt.Errorf("tun: address %v of %s: %w", addr, name, err)
	}
	if err := d.netlink.LinkSetUp(d.link); err != nil {
		return fmt.Errorf("tun: set %s up: %w", name, err)
	}
	for _, r := range routes {
		if err := d.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// Name implements Device.
func (d *device) Name() string { return d.file.Name() }

// MTU implements Device.
func (d *device) MTU() int { return d.mtu }

// AddRoute implements Router.
func (d *device) AddRoute(p netip.Prefix) error {
	if err := checkRoute(p); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() {
		return net.ErrClosed
	}
	if err := d.netlink.RouteAdd(d.route(p)); err != nil {
		return fmt.Errorf("tun: route %v to %s: %w", p, d.Name(), err)
	}
	return nil
}

// DelRoute implements Router.
func (d *device) DelRoute(p netip.Prefix) error {
	if err := checkRoute(p); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Load() {
		return net.ErrClosed
	}
	if err := d.netlink.RouteDel(d.route(p)); err != nil {
		return fmt.Errorf("tun: remove route %v to %s: %w", p, d.Name(), err)
	}
	return nil
}

func (d *device) route(p netip.Prefix) *netlink.Route {
	return &netlink.Route{LinkIndex: d.link.Attrs().Index, Dst: ipNet(p), Scope: netlink.SCOPE_LINK}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ReadBatch implements Device. It waits for one packet and takes what else is
// there, a system call each.
func (d *device) ReadBatch(bufs [][]byte, sizes []int, offset int) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	d.reading.Lock()
	defer d.reading.Unlock()
	r := &d.read
	r.bufs, r.sizes, r.offset, r.n, r.err = bufs, sizes, offset, 0, nil
	err := d.raw.Read(r.call)
	n := r.n
	if n == 0 && err == nil {
		err = r.err
	}
	r.bufs, r.sizes = nil, nil
	switch {
	case n > 0:
		return n, nil
	case d.closed.Load():
		return 0, net.ErrClosed
	}
	return 0, fmt.Errorf("tun: read %s: %w", d.Name(), err)
}

// batch is false if there is nothing to read yet.
func (r *reader) batch(fd uintptr) bool {
	for r.n < len(r.bufs) {
		n, err := syscall.Read(int(fd), r.bufs[r.n][r.offset:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return r.n > 0
		case err != nil:
			r.err = err
			return true
		}
		r.sizes[r.n] = n
		r.n++
	}
	return true
}

// WriteBatch implements Device.
func (d *device) WriteBatch(bufs [][]byte, offset int) (int, error) {
	n := 0
	for _, b := range bufs {
		_, err := d.file.Write(b[offset:])
		switch {
		case err == nil:
			n++
		case d.closed.Load() || errors.Is(err, os.ErrClosed):
			return n, net.ErrClosed
		}
		// Anything else concerns the packet: the host finds it malformed (EINVAL),
		// has no memory, or someone set the device down (EIO).
	}
	return n, nil
}

// Close implements Device.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	// Without a file open the device goes, and with it its address and routes.
	err := d.file.Close()
	d.netlink.Close()
	if err != nil {
		return fmt.Errorf("tun: close %s: %w", d.Name(), err)
	}
	return nil
}
