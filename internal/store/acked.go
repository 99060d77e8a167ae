package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Replication of Redis is asynchronous: a primary answers before its replicas have the
// write, and if it is lost then, so is what it had answered. With ReplicasAck a Do that
// writes ends with WAIT on the same connection, and an answer that too few replicas gave is
// unavailability; the write may still count, as with every ErrUnavailable.
//
// What remains: the replica that takes over must be one that has the write. With as many
// acknowledgements as a primary has replicas it always is, but then the loss of any replica
// stops all logins. With fewer it is as long as those that acknowledged are among the ones
// that can be elected, for a fail-over chooses the replica that is furthest. An
// acknowledgement means received, not written to disk.

// ackLife is how long the write for WAIT is kept.
const ackLife = time.Minute

var errMoving = errors.New("the slot is moving to another server")

// tooFewError is what WAIT said.
type tooFewError struct{ got, want int }

func (e tooFewError) Error() string {
	return fmt.Sprintf("%d replicas have the write, %d are wanted", e.got, e.want)
}

// batch is what one server is sent over one connection.
type batch struct {
	client *redis.Client
	asking bool // its slot is moving there, ASKING comes first
	seqs   []Seq
}

// runAcked is run with WAIT. Where the sequences belong is decided here and not by the
// cluster client, which would send what was redirected without the WAIT behind it.
func (r *redisStore) runAcked(ctx context.Context, seqs []Seq) (missing []Seq, err error) {
	batches, err := r.place(ctx, seqs)
	for pause := 10 * time.Millisecond; err == nil; pause *= 2 {
		var mu sync.Mutex
		var moved []redirected
		var errs []error
		var wg sync.WaitGroup
		for _, b := range batches {
			wg.Go(func() { // waited for below
				m, red, err := r.send(ctx, b)
				mu.Lock()
				defer mu.Unlock()
				missing, moved, errs = append(missing, m...), append(moved, red...), append(errs, err)
			})
		}
		wg.Wait()
		if err = errors.Join(errs...); err != nil {
			if c, cluster := r.client.(*redis.ClusterClient); cluster {
				c.ReloadState(ctx) // a replica may serve the slots by now
			}
			return nil, err
		}
		if len(moved) == 0 {
			return missing, nil
		}
		select {
		case <-ctx.Done():
			return nil, moved[0].why
		case <-time.After(pause):
		}
		batches, err = r.redirect(ctx, moved)
	}
	return nil, err
}

// place finds the server of each sequence.
func (r *redisStore) place(ctx context.Context, seqs []Seq) ([]batch, error) {
	if c, one := r.client.(*redis.Client); one {
		return []batch{{client: c, seqs: seqs}}, nil
	}
	c, cluster := r.client.(*redis.ClusterClient)
	if !cluster {
		return nil, fmt.Errorf("no acknowledgements with %T", r.client)
	}
	var out []batch
next:
	for _, s := range seqs {
		m, err := c.MasterForKey(ctx, s.anyKey().String())
		if err != nil {
			return nil, err
		}
		for i := range out {
			if out[i].client == m {
				out[i].seqs = append(out[i].seqs, s)
				continue next
			}
		}
		out = append(out, batch{client: m, seqs: []Seq{s}})
	}
	return out, nil
}

// redirected is a sequence that a server refused because its slot is elsewhere; it did not
// run.
type redirected struct {
	seq Seq
	why error
}

// redirect places what was refused: as ASK says while a slot moves, otherwise by the
// slots' new map.
func (r *redisStore) redirect(ctx context.Context, moved []redirected) ([]batch, error) {
	c, cluster := r.client.(*redis.ClusterClient)
	if !cluster {
		return nil, moved[0].why
	}
	c.ReloadState(ctx)
	var out []batch
	var rest []Seq
	for _, m := range moved {
		addr, ask := redis.IsAskError(m.why)
		var to *redis.Client
		if ask {
			var mu sync.Mutex
			_ = c.ForEachMaster(ctx, func(_ context.Context, one *redis.Client) error {
				mu.Lock()
				defer mu.Unlock()
				if one.Options().Addr == addr {
					to = one
				}
				return nil
			})
		}
		if to == nil {
			rest = append(rest, m.seq)
			continue
		}
		out = append(out, batch{client: to, asking: true, seqs: []Seq{m.seq}})
	}
	more, err := r.place(ctx, rest)
	return append(out, more...), err
}

// send runs sequences on one server and waits for its replicas, all on one connection.
func (r *redisStore) send(ctx context.Context, b batch) (missing []Seq, moved []redirected, err error) {
	pipe := b.client.Pipeline()
	cmds := make([]*redis.Cmd, len(b.seqs))
	var written *Key
	for i, s := range b.seqs {
		keys, args := encode(s)
		if b.asking {
			pipe.Do(ctx, "asking")
		}
		cmds[i] = pipe.EvalSha(ctx, r.script.Hash(), keys, args...)
		if written == nil && s.writes() {
			k := acknowledged(s.anyKey())
			written = &k
		}
	}
	var marked *redis.StatusCmd
	var wait *redis.Cmd
	if written != nil {
		// WAIT waits for what this connection has written last. A guard that is won again
		// writes nothing, though what it found may not be with the replicas yet; so
		// something is written whatever the sequences did.
		if b.asking {
			pipe.Do(ctx, "asking")
		}
		marked = pipe.Set(ctx, written.String(), "", ackLife)
		wait = pipe.Do(ctx, "wait", r.acks, waitFor(ctx))
	}
	_, _ = pipe.Exec(ctx) // its error is that of one of its commands
	ran := false
	for i, cmd := range cmds {
		v, err := cmd.Slice()
		switch {
		case err == nil:
			ran = true
			if err := decode(b.seqs[i], v); err != nil {
				return nil, nil, err
			}
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			missing = append(missing, b.seqs[i])
		case elsewhere(err):
			moved = append(moved, redirected{b.seqs[i], err})
		default:
			return nil, nil, err
		}
	}
	if wait == nil || !ran {
		return missing, moved, nil
	}
	if err := marked.Err(); err != nil {
		if !elsewhere(err) {
			return nil, nil, err
		}
		// The slot is moving and the mark would have to begin its life over there, while the
		// sequences belong here as long as what they work on is here. They stand being
		// repeated, until all is on one side.
		for _, s := range b.seqs {
			moved = append(moved, redirected{s, errMoving})
		}
		return nil, moved, nil
	}
	n, err := wait.Int()
	if err == nil && n < r.acks {
		err = tooFewError{n, r.acks}
	}
	return missing, moved, err
}

// lateAnswer is how much later than asked for WAIT may give up: Redis looks at the time-outs
// of clients ten times a second (hz).
const lateAnswer = 150 * time.Millisecond

// waitFor leaves time for the answer to come back in.
func waitFor(ctx context.Context) int64 {
	left := defaultTimeout
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	return max(time.Millisecond, left/4, min(left*3/4, left-lateAnswer)).Milliseconds()
}

// elsewhere says that a server refused before anything ran, for its slot is not, or not
// wholly, its own.
func elsewhere(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED ") || redis.HasErrorPrefix(err, "ASK ") || redis.HasErrorPrefix(err, "TRYAGAIN")
}

// anyKey places a sequence. One without keys, which asks for the time or publishes, may run
// anywhere.
func (s Seq) anyKey() Key {
	for _, op := range s {
		if ks := op.keys(); len(ks) > 0 {
			return ks[0]
		}
	}
	return SchemaVersion()
}

func (s Seq) writes() bool {
	for _, op := range s {
		if op.writes() {
			return true
		}
	}
	return false
}
