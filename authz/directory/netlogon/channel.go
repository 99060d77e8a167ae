package netlogon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// channel is one sealed channel to a DC. It is not safe for concurrent use. An error
// that is no Status leaves it unusable.
type channel interface {
	// logon returns the DC's verdict: a Logon, a Status, or no answer. errUnsent says
	// that the request never left.
	logon(ctx context.Context, r *Request) (*Logon, error)

	// trusts asks for the domains that the DC's own trusts, itself included.
	trusts(ctx context.Context) ([]Trust, error)

	// facts are those of the set-up.
	facts() facts

	// alive says whether the connection still stands, as far as can be told without
	// sending anything.
	alive() bool

	close()
}

// facts say how a channel was set up.
type facts struct {
	addr  string // the DC's address and port
	flags uint32 // negotiated
	took  time.Duration
}

// opener sets up a channel.
type opener func(ctx context.Context) (channel, error)

// How often a set-up is begun anew because another one spoilt it, and the longest wait
// before that. Ours: three services that restart at once are in order after a few.
const (
	setUpTries = 8
	setUpPause = 20 * time.Millisecond
)

// newOpener returns the real one.
func newOpener(cfg *Config) opener {
	return func(ctx context.Context) (channel, error) {
		began := time.Now()
		hash, err := machineHash(cfg)
		if err != nil {
			return nil, err
		}
		defer clear(hash[:])
		port, err := cfg.port(ctx, netlogonInterface)
		if err != nil {
			return nil, err
		}
		for try := 1; ; try++ {
			c, err := openSealed(ctx, cfg, port, &hash)
			if err == nil {
				c.how.took = time.Since(began)
				return c, nil
			}
			if try == setUpTries || !errors.Is(err, faultSecurity) {
				return nil, err
			}
			select {
			case <-time.After(time.Duration(rand.Int64N(int64(try) * int64(setUpPause)))):
			case <-ctx.Done():
				return nil, ended(ctx, err)
			}
		}
	}
}

// openSealed sets up a channel and makes a call on it. A bind is not refused when the
// key is wrong, calls are: when another process negotiated under the same machine
// account between our negotiation and our bind, the DC has that one's key. It must
// not be a user's logon that finds out.
func openSealed(ctx context.Context, cfg *Config, port uint16, hash *[16]byte) (*sealedChannel, error) {
	s, err := negotiate(ctx, cfg, port, hash)
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	c, err := seal(ctx, cfg, port, hash, s)
	if err != nil {
		return nil, err
	}
	if _, err := c.enumerate(ctx, trustPrimary); err != nil && !errors.As(err, new(win32)) {
		c.close()
		return nil, fmt.Errorf("make a sealed call: %w", err)
	}
	return c, nil
}
