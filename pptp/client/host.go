package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/pptp/gre"
)

// Host is one local address: the GRE socket that its sessions share and the reader
// that hands packets to them by call ID. All methods may be called from any
// goroutine. Locks are taken in the order Session.mu, line.mu, Host.mu.
//
// A raw socket gets a copy of all GRE packets for its address, so Hosts on the same
// address, also in other processes, see one another's and tell them apart by a call
// ID that each draws at random; and a server on the same address is not possible.
type Host struct {
	local   netip.Addr
	conn    gre.Conn
	private bool // of one session; closes with its last line
	tx      sync.Pool

	malformed, unknownCall, wrongPeer atomic.Uint64

	mu     sync.RWMutex
	calls  map[uint16]*Session
	lines  map[*line]struct{}
	nextID uint16
	closed bool

	work sync.WaitGroup // the reader, and the lines'
}

// HostStats counts what a Host could give to no session.
type HostStats struct {
	Malformed   uint64 // no GRE of RFC 2637
	UnknownCall uint64 // a call ID of no session, or of one that has ended
	WrongPeer   uint64 // from another address than the session's server
}

// NewHost opens the GRE socket of a local address, with listen if that is not nil
// (gre.Listen, which wants CAP_NET_RAW). The zero address is all of this machine's.
func NewHost(local netip.Addr, listen func(netip.Addr) (gre.Conn, error)) (*Host, error) {
	if listen == nil {
		listen = gre.Listen
	}
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
	}
	conn, err := listen(local.Unmap())
	if err != nil {
		return nil, fmt.Errorf("pptp client: %w", err)
	}
	h := &Host{
		local: local.Unmap(), conn: conn, nextID: uint16(rand.Uint32()),
		tx:    sync.Pool{New: func() any { return new(txBuffer) }},
		calls: make(map[uint16]*Session), lines: make(map[*line]struct{}),
	}
	h.work.Go(h.receive) // Close waits
	return h, nil
}

// Dial opens a Host of its own and a session on it; the Host ends with the session.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	h, err := NewHost(cfg.Local, cfg.ListenGRE)
	if err != nil {
		return nil, err
	}
	h.private = true
	s, err := h.Dial(ctx, cfg)
	if err != nil {
		h.closeIdle()
	}
	return s, err
}

// Dial opens a control connection and a session on it. It returns when IP can be
// sent, or with the reason why there is no session: *RefusedError,
// *ConnectionRefusedError, *CallRefusedError, *EndedError, one of this package's
// sentinels or ctx's error; errors.Is and errors.As find them.
func (h *Host) Dial(ctx context.Context, cfg Config) (*Session, error) {
	c, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	tcp, err := c.DialTCP(ctx, h.local, c.Server)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrServerGone, err)
	}
	c.reached(Connected, time.Now())
	l, err := h.newLine(tcp, c)
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	return h.dial(ctx, l, c)
}

// DialCall dials another session on this one's control connection, which then lives as
// long as the last of them. cfg's Server, Local, DialTCP and ListenGRE do not count, and
// its Quirk not for what belongs to that connection.
func (s *Session) DialCall(ctx context.Context, cfg Config) (*Session, error) {
	cfg.Server = s.cfg.Server
	c, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	return s.host.dial(ctx, s.line, c)
}

func (c *Config) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.Timeout)
}

func (h *Host) dial(ctx context.Context, l *line, c *Config) (*Session, error) {
	s, err := h.newSession(l, c)
	if err != nil {
		return nil, err
	}
	l.add(s)
	return s.await(ctx)
}

// newSession makes a session under a call ID that is free.
func (h *Host) newSession(l *line, c *Config) (*Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	for range 1 << 16 {
		h.nextID++
		if id := h.nextID; id != 0 && h.calls[id] == nil {
			s := newSession(h, l, c, id)
			h.calls[id] = s
			return s, nil
		}
	}
	return nil, errors.New("no call ID is free")
}

func (h *Host) forget(callID uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.calls, callID)
}

// lineOver takes note that a control connection has ended.
func (h *Host) lineOver(l *line) {
	h.mu.Lock()
	delete(h.lines, l)
	h.mu.Unlock()
	h.closeIdle()
}

// closeIdle closes a private Host that has nothing left.
func (h *Host) closeIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.private && !h.closed && len(h.lines) == 0 {
		h.closed = true
		_ = h.conn.Close() // nothing is lost: no session is left
	}
}

// Close closes the socket and waits until nothing of the Host runs. Sessions that are
// still there end without a word to their servers: Close them first.
func (h *Host) Close() error {
	h.mu.Lock()
	var err error
	if !h.closed {
		h.closed = true
		err = h.conn.Close()
	}
	left, lines := h.leftLocked()
	h.mu.Unlock()
	for _, s := range left {
		s.abandon(ErrClosed)
	}
	for _, l := range lines {
		_ = l.tcp.Close() // its reader notices
	}
	h.work.Wait()
	return err
}

// idle says that no session is left.
func (h *Host) idle() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.calls) == 0
}

func (h *Host) leftLocked() (sessions []*Session, lines []*line) {
	for _, s := range h.calls {
		sessions = append(sessions, s)
	}
	for l := range h.lines {
		lines = append(lines, l)
	}
	return sessions, lines
}

// Stats counts since the Host was made.
func (h *Host) Stats() HostStats {
	return HostStats{h.malformed.Load(), h.unknownCall.Load(), h.wrongPeer.Load()}
}

const (
	// batchSize is how many packets one read takes at most; with maxFrame it is
	// most of what a Host costs.
	batchSize = 32
	// maxFrame holds the largest packet we take: 1500 octets and every header.
	maxFrame = 2048
)

// rxBatch collects the inner packets of one session, for delivery without its lock.
type rxBatch struct{ ips [][]byte }

// receive hands packets to sessions until the socket closes.
func (h *Host) receive() {
	ms := make([]gre.Message, batchSize)
	slab := make([]byte, batchSize*maxFrame)
	for i := range ms {
		ms[i].Buf = slab[i*maxFrame : (i+1)*maxFrame : (i+1)*maxFrame]
	}
	b := &rxBatch{ips: make([][]byte, 0, batchSize)}
	for {
		k, err := h.conn.ReadBatch(ms)
		if err != nil {
			h.broken(err)
			return
		}
		h.input(time.Now(), b, ms[:k])
	}
}

// input hands out a batch, a run of packets of one session under one lock.
func (h *Host) input(now time.Time, b *rxBatch, ms []gre.Message) {
	var run *Session
	for i := range ms {
		p, err := gre.Parse(ms[i].Buf[:ms[i].N])
		if err != nil {
			h.malformed.Add(1)
			continue
		}
		h.mu.RLock()
		s := h.calls[p.CallID]
		h.mu.RUnlock()
		if s == nil {
			h.unknownCall.Add(1)
			continue
		}
		if s.cfg.Server.Addr() != ms[i].Addr {
			h.wrongPeer.Add(1)
			continue
		}
		if s != run {
			if run != nil {
				run.leave(b)
			}
			run = s
			s.enter(b)
		}
		s.greInput(now, &p)
	}
	if run != nil {
		run.leave(b)
	}
}

// broken ends all sessions: the socket is of no more use.
func (h *Host) broken(err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed = true
	left, lines := h.leftLocked()
	h.mu.Unlock()
	_ = h.conn.Close() // it has failed already
	for _, s := range left {
		s.abandon(fmt.Errorf("GRE socket: %w", err))
	}
	for _, l := range lines {
		_ = l.tcp.Close() // its reader notices
	}
}
