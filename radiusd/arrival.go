package radiusd

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A process that was held up, by a debugger, its host or a full disk, finds in its sockets
// what came meanwhile: requests whose clients have long been answered elsewhere. To work
// on these would not only be in vain, it would count one-time codes as wrong that were
// right when they were given. So the kernel tells when each datagram came
// (SO_TIMESTAMPNS, socket(7)), and its time begins there.

const timespecLen = 16

// askArrival makes the kernel tell.
func askArrival(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("ask for arrival times: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); err != nil {
		failed = err
	}
	if failed != nil {
		return fmt.Errorf("ask for arrival times: %w", failed)
	}
	return nil
}

// arrived is when a datagram came, by its control messages: now, where they say nothing
// or say what lies ahead, as they may when the clock is set.
func arrived(now time.Time, control []byte) time.Time {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return now
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= timespecLen {
			at := time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
			return now.Add(min(0, -now.Sub(at))) // and keeps the monotonic reading
		}
		control = rest
	}
	return now
}
