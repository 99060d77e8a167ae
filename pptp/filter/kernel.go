package filter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Ours. A transaction waits for other users of nftables; the buffers hold the largest
// one, which puts all clients into an empty table, and an answer to each message.
const (
	patience   = 10 * time.Second
	sendBuffer = 32 << 20
	recvBuffer = 32 << 20
)

// kernel is the way to the kernel's nftables, in the network namespace where it was
// opened. commit is not safe for concurrent use.
type kernel struct {
	namespace *os.File
	connect   func() (*nftables.Conn, error) // reach, but in tests of what the kernel may say
	conn      *nftables.Conn                 // nil: to be opened
	deadline  func(time.Time) error          // the socket's
	port      atomic.Uint32                  // the socket's: what we did is reported to watchers as from it
}

func openKernel() (*kernel, error) {
	// The thread's, not the process': a test has its node in a namespace of its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("filter: network namespace: %w", err)
	}
	k := &kernel{namespace: ns}
	k.connect = k.reach
	if k.conn, err = k.connect(); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return k, nil
}

// fd is the namespace's file, or 0 if the thread is in it: entering one needs more
// rights than changing its tables.
func (k *kernel) fd() (int, error) {
	here, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	there, err := k.namespace.Stat()
	if err != nil {
		return 0, err
	}
	if os.SameFile(here, there) {
		return 0, nil
	}
	return int(k.namespace.Fd()), nil
}

func (k *kernel) reach() (*nftables.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := k.fd()
	if err != nil {
		return nil, fmt.Errorf("filter: network namespace: %w", err)
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(fd), nftables.WithSockOptions(k.prepare))
	if err != nil {
		return nil, fmt.Errorf("filter: netlink, which needs nf_tables in the kernel: %w", err)
	}
	return conn, nil
}

// prepare is called with the socket once it is open.
func (k *kernel) prepare(c *netlink.Conn) error {
	k.deadline = c.SetDeadline
	if err := errors.Join(c.SetWriteBuffer(sendBuffer), c.SetReadBuffer(recvBuffer)); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var name unix.Sockaddr
	if cerr := raw.Control(func(fd uintptr) { name, err = unix.Getsockname(int(fd)) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return err
	}
	if a, ok := name.(*unix.SockaddrNetlink); ok {
		k.port.Store(a.Pid)
	}
	return nil
}

// dial opens a socket for dumps or events.
func (k *kernel) dial() (*netlink.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := k.fd()
	if err != nil {
		return nil, err
	}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: fd})
	if err != nil {
		return nil, fmt.Errorf("filter: netlink: %w", err)
	}
	if err := c.SetReadBuffer(recvBuffer); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// commit sends a transaction. After an error its socket is not used again: replies
// may be left in it, and replies are all that tell one transaction's end from
// another's.
func (k *kernel) commit(x *txn) error {
	if len(x.ops) == 0 {
		return nil
	}
	if k.conn == nil {
		var err error
		if k.conn, err = k.connect(); err != nil {
			return err
		}
	}
	err := k.send(x)
	if err != nil {
		k.hangUp()
	}
	return err
}

func (k *kernel) send(x *txn) error {
	if err := k.deadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for _, op := range x.ops {
		if err := op(k.conn); err != nil {
			return err
		}
	}
	return k.conn.Flush()
}

var errRights = errors.New("root or CAP_NET_ADMIN is needed")

// listen opens a socket that hears of all changes to nftables in the namespace.
func (k *kernel) listen() (*netlink.Conn, error) {
	c, err := k.dial()
	if err != nil {
		return nil, err
	}
	err = c.JoinGroup(unix.NFNLGRP_NFTABLES)
	switch {
	case errors.Is(err, unix.EPERM):
		err = fmt.Errorf("filter: %w: %w", errRights, err)
	case err != nil:
		err = fmt.Errorf("filter: watch nftables: %w", err)
	default:
		return c, nil
	}
	return nil, errors.Join(err, c.Close())
}

func (k *kernel) hangUp() {
	if k.conn != nil {
		_ = k.conn.CloseLasting() // what it can say does not matter any more
		k.conn = nil
	}
}

func (k *kernel) close() error {
	k.hangUp()
	return k.namespace.Close()
}
