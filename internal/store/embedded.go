package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The embedded back end is one bbolt file for one process: the lab and
// single-box sites.
//
// Every write is on disk before Do returns, because a used code or a lockout
// that a crash undoes is a way in. A commit costs an fdatasync or two, so one
// writer takes whatever has been asked for meanwhile into one transaction: alone a
// login waits for one commit, and under load hundreds share one. bbolt's own
// Batch does the same but waits for company first; NoSync would be faster and
// may leave a broken file after a power failure. Reads share nothing with the
// writer and never wait for the disk.
type embedded struct {
	db    *bbolt.DB
	now   func() time.Time
	calls chan *pending
	stop  chan struct{} // closed by Close
	done  chan struct{} // closed when the writer has ended
	once  sync.Once
	bus   bus
}

// pending is one Do that waits for the writer.
type pending struct {
	seqs []Seq
	done chan error // buffered: the writer never waits

	mu   sync.Mutex // held while the writer works on seqs
	left bool       // nobody waits any more, and seqs are the caller's again
}

// leave takes seqs back: what the writer has not begun it never will.
func (p *pending) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
}

func (p *pending) run(t *txn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return
	}
	for _, s := range p.seqs {
		run(t, s)
	}
}

// EmbeddedConfig says where the embedded store is kept.
type EmbeddedConfig struct {
	Path string
	Now  func() time.Time // nil: time.Now
}

const (
	// maxBatch bounds a transaction, so that a Do among thousands still ends
	// within its time.
	maxBatch = 256
	// sweepEvery and sweepKeys bound how long what has expired stays in the
	// file; it is never read. 2,000 keys take about a millisecond.
	sweepEvery = 10 * time.Second
	sweepKeys  = 2000
	// lockWait is how long we wait for a predecessor to let go of the file.
	lockWait = 3 * time.Second
)

// ErrInUse: the embedded store is for one process, and another one has its file.
var ErrInUse = errors.New("another process has it")

// OpenEmbedded opens or creates the file, 0600. A file that another process has
// open is ErrInUse.
func OpenEmbedded(c EmbeddedConfig) (Store, error) {
	db, err := bbolt.Open(c.Path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open embedded store %s: %w", c.Path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open embedded store %s: %w", c.Path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open embedded store %s: %w", c.Path, err), db.Close())
	}
	e := &embedded{
		db: db, now: c.Now,
		calls: make(chan *pending, maxBatch), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if e.now == nil {
		e.now = time.Now
	}
	go e.write() // Close waits for it
	return e, nil
}

func (e *embedded) Do(ctx context.Context, seqs ...Seq) error {
	writes := false
	for _, s := range seqs {
		if err := s.check(); err != nil {
			return unavailable("check", err)
		}
		for _, op := range s {
			writes = writes || op.writes()
		}
	}
	if err := ctx.Err(); err != nil {
		return unavailable("embedded", err)
	}
	if !writes {
		return e.read(seqs)
	}
	ctx, cancel := context.WithTimeout(ctx, embeddedTimeout)
	defer cancel()
	p := &pending{seqs: seqs, done: make(chan error, 1)}
	select {
	case <-e.stop:
		return unavailable("embedded", errClosed)
	case <-ctx.Done():
		return unavailable("embedded: queue", ctx.Err())
	case e.calls <- p:
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		p.leave()
		return unavailable("embedded: disk", ctx.Err())
	case <-e.done:
		// The writer may have answered just before it ended.
		select {
		case err := <-p.done:
			return err
		default:
			return unavailable("embedded", errClosed)
		}
	}
}

// embeddedTimeout bounds a Do. A disk that needs longer for a commit is ill.
const embeddedTimeout = 5 * time.Second

var errClosed = errors.New("closed")

func (e *embedded) read(seqs []Seq) error {
	err := e.db.View(func(tx *bbolt.Tx) error {
		t := newTxn(tx, e.now())
		for _, s := range seqs {
			run(t, s)
		}
		return t.err
	})
	if err != nil {
		return unavailable("embedded: read", err)
	}
	return nil
}

// write is the one writer.
func (e *embedded) write() {
	defer close(e.done)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var place sweepPlace
	batch := make([]*pending, 0, maxBatch)
	for {
		select {
		case <-e.stop:
			return
		case <-sweep.C:
			// A failure shows in the next write just as well.
			_ = e.db.Update(func(tx *bbolt.Tx) error {
				t := newTxn(tx, e.now())
				place = t.sweep(place, sweepKeys)
				return t.err
			})
		case p := <-e.calls:
			batch = append(batch[:0], p)
		more:
			for len(batch) < maxBatch {
				select {
				case p := <-e.calls:
					batch = append(batch, p)
				default:
					break more
				}
			}
			e.commit(batch)
			clear(batch)
		}
	}
}

func (e *embedded) commit(batch []*pending) {
	var sent []message
	err := e.db.Update(func(tx *bbolt.Tx) error {
		t := newTxn(tx, e.now())
		for _, p := range batch {
			p.run(t)
		}
		sent = t.published
		return t.err
	})
	if err != nil {
		err = unavailable("embedded: commit", err)
	} else {
		e.bus.send(sent)
	}
	for _, p := range batch {
		p.done <- err
	}
}

// run carries a sequence out up to the first lost guard.
func run(t *txn, s Seq) {
	for _, op := range s {
		won := op.apply(t)
		op.setOK(won)
		if !won {
			return
		}
	}
}

func (e *embedded) Watch(ctx context.Context, topic string) (<-chan string, error) {
	select {
	case <-e.stop:
		return nil, unavailable("watch", errClosed)
	default:
	}
	ch, leave := e.bus.join(topic)
	go func() { // ends with ctx or Close; the reader waits for the closed channel
		select {
		case <-ctx.Done():
		case <-e.stop:
		}
		leave()
	}()
	return ch, nil
}

func (e *embedded) Close() error {
	var err error
	e.once.Do(func() {
		close(e.stop)
		<-e.done
		err = e.db.Close()
	})
	if err != nil {
		return fmt.Errorf("close embedded store: %w", err)
	}
	return nil
}
