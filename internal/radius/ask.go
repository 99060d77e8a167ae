package radius

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"
)

// Asker is an Exchanger that asks one peer over UDP, each request on a socket of its
// own: for the few that go to many, as those of RFC 5176 do. Where many go to few
// there is Client.
type Asker struct {
	Addr     string // host:port
	Secret   Secret
	Unsigned bool // replies need not be signed

	// Timeout is the first wait for an answer, doubled for each of Retries repetitions
	// (RFC 5080 §2.2.1); zero is DefaultTimeout.
	Timeout time.Duration
	Retries int

	// Dial opens a UDP socket; nil is net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Exchange implements Exchanger. What is not believed is passed over. ErrNoAnswer is
// all that comes of a peer that cannot be reached, or keeps silent.
func (a *Asker) Exchange(ctx context.Context, p *Packet) (*Packet, error) {
	dial := a.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "udp", a.Addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer func() { _ = conn.Close() }()
	q, err := prepare(p, a.Secret, 0)
	if err != nil {
		return nil, err
	}
	q.Identifier = byte(rand.Uint32())
	b, err := EncodeRequest(q)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	wait := retransmission{initial: a.Timeout}
	if a.Timeout == 0 {
		wait.initial = DefaultTimeout
	}
	for range a.Retries + 1 {
		until := time.Now().Add(wait.next())
		_, _ = conn.Write(b) // an ICMP message's error is anybody's: it is asked again
		if reply := a.listen(ctx, conn, b, until); reply != nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
		}
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrNoAnswer, a.Addr, errSilent)
}

// listen waits for the reply to b; nil: there is none that is believed.
func (a *Asker) listen(ctx context.Context, conn net.Conn, b []byte, until time.Time) *Packet {
	parse := ParseReply
	if a.Unsigned {
		parse = ParseUnsignedReply
	}
	buf := make([]byte, MaxPacket)
	for ctx.Err() == nil && time.Now().Before(until) {
		if conn.SetReadDeadline(until) != nil || ctx.Err() != nil {
			return nil
		}
		n, err := conn.Read(buf)
		if err == nil {
			if reply, err := parse(buf[:n], b, a.Secret); err == nil {
				return reply
			}
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil
		}
		select { // an ICMP message; do not spin on a socket that is broken
		case <-ctx.Done():
		case <-time.After(min(time.Until(until), 50*time.Millisecond)):
		}
	}
	return nil
}
