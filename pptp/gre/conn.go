package gre

import "net/netip"

// Message is one GRE packet on its way. Reading fills Buf, whose length is the
// room there is, and sets N and Addr. Writing sends Buf[:N] to Addr. Buf[0] is the
// first octet of the GRE header either way.
type Message struct {
	Buf  []byte
	N    int
	Addr netip.Addr // the peer's IPv4 address
}

// Conn moves packets in batches: a raw socket, or in tests a simulated network.
// One goroutine may read while others write.
//
// ReadBatch blocks until there is a packet and returns how many of ms it filled;
// it may exchange their buffers among them. WriteBatch returns how many packets
// were sent; those the network did not take are skipped, for GRE promises no more.
// An error means that the Conn is of no more use. After Close it is net.ErrClosed,
// also for a call that was blocked.
type Conn interface {
	ReadBatch(ms []Message) (int, error)
	WriteBatch(ms []Message) (int, error)
	Close() error
}
