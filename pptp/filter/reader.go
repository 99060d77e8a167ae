package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// reader asks the kernel what is in the table. It has a socket of its own, so that
// whoever reads metrics does not wait for a transaction.
//
// The library can list too, but not a table's rules without asking for each chain,
// and takes all elements of a map apart on the way.
type reader struct {
	kernel *kernel
	table  string
	mu     sync.Mutex
	conn   *netlink.Conn // nil: to be opened
	closed bool
}

// errInterrupted is for a dump during which somebody changed something.
var errInterrupted = errors.New("filter: the ruleset changed while it was read")

// ask sends a request about the table, with further attributes, and calls each for the
// attributes of each message of the answer.
func (r *reader) ask(what uint16, flags netlink.HeaderFlags, more []netlink.Attribute, each func(attributes)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.conn == nil {
		var err error
		if r.conn, err = r.kernel.dial(); err != nil {
			return err
		}
	}
	reply, err := r.execute(what, flags, more)
	if err != nil {
		_ = r.conn.Close() // what is left in it belongs to a question nobody waits for
		r.conn = nil
		return err
	}
	for _, m := range reply {
		if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
			return errInterrupted
		}
		if len(m.Data) > nfgenmsgLen {
			each(attributes(m.Data[nfgenmsgLen:]))
		}
	}
	return nil
}

// nfgenmsgLen is of struct nfgenmsg, fixed by Linux: family, version, resource.
const nfgenmsgLen = 4

func (r *reader) execute(what uint16, flags netlink.HeaderFlags, more []netlink.Attribute) ([]netlink.Message, error) {
	// The name of the table is attribute 1 of all there is in one.
	body, err := netlink.MarshalAttributes(append([]netlink.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: []byte(r.table + "\x00")}}, more...))
	if err != nil {
		return nil, err
	}
	if err := r.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	reply, err := r.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | what), Flags: netlink.Request | flags},
		Data:   append([]byte{unix.NFPROTO_IPV4, unix.NFNETLINK_V0, 0, 0}, body...),
	})
	if err != nil {
		return nil, fmt.Errorf("filter: read table %s: %w", r.table, err)
	}
	return reply, nil
}

func (r *reader) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.conn == nil {
		return nil
	}
	return r.conn.Close()
}

// attributes are netlink attributes in a row, as they came. Its methods are total:
// what is cut off is not there.
type attributes []byte

// nlaHeader is of struct nlattr, fixed by Linux: length, type. Values begin at
// multiples of 4.
const nlaHeader = 4

// next takes the first attribute off. Not ok: there is none.
func (a *attributes) next() (kind uint16, value attributes, ok bool) {
	b := *a
	if len(b) < nlaHeader {
		return 0, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < nlaHeader || n > len(b) {
		return 0, nil, false
	}
	kind = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	*a = b[min(len(b), (n+3)&^3):]
	return kind, b[nlaHeader:n:n], true
}

// get finds an attribute by the path to it.
func (a attributes) get(path ...uint16) attributes {
	for _, want := range path {
		kind, value, ok := a.next()
		for ; ok && kind != want; kind, value, ok = a.next() {
		}
		if !ok {
			return nil
		}
		a = value
	}
	return a
}

func (a attributes) text() string {
	s, _, _ := strings.Cut(string(a), "\x00")
	return s
}

// number is a big-endian one of 4 or 8 octets.
func (a attributes) number() uint64 {
	switch len(a) {
	case 4:
		return uint64(binary.BigEndian.Uint32(a))
	case 8:
		return binary.BigEndian.Uint64(a)
	}
	return 0
}
