package filter

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// locals knows which addresses are this host's. It stays in the network namespace
// where it was opened, and is safe for concurrent use.
type locals struct{ routes *netlink.Handle }

func openLocals() (*locals, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("filter: netlink: %w", err)
	}
	if err := h.SetSocketTimeout(patience); err != nil {
		h.Close()
		return nil, fmt.Errorf("filter: netlink: %w", err)
	}
	return &locals{h}, nil
}

func (l *locals) local(a netip.Addr) (bool, error) {
	found, err := l.routes.RouteGet(a.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL):
		return false, nil // no route, or one that refuses: not this host at least
	case err != nil:
		return false, err
	}
	return len(found) > 0 && found[0].Type == unix.RTN_LOCAL, nil
}

func (l *locals) close() {
	if l != nil {
		l.routes.Close()
	}
}
