package netlogon

import (
	"context"
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
		s, err := negotiate(ctx, cfg, port, &hash)
		if err != nil {
			return nil, err
		}
		defer s.wipe()
		c, err := seal(ctx, cfg, port, &hash, s)
		if err != nil {
			return nil, err
		}
		c.how.took = time.Since(began)
		return c, nil
	}
}
