package inputs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/seal"
)

const (
	suffix = ".inputs"

	// defaultQueue is some seconds of more logins than a service decides.
	defaultQueue = 8192
	// flushEvery is how long a record may wait for the disk.
	flushEvery = time.Second
	// flushAt is when there is enough to write before that is over.
	flushAt = 64 << 10
	// pruneEvery is how often old days are looked for.
	pruneEvery = time.Hour
)

// Config says what a Keeper keeps, and where.
type Config struct {
	Dir  string        // of this service alone; made if it is not there
	Keep time.Duration // whole days are deleted that are older
	// Pseudonyms keeps digests under Ring in the place of names of people and devices.
	Pseudonyms bool
	Ring       *seal.Ring
	Queue      int                   // records that may wait; 0: 8192
	Clock      func() time.Time      // nil: time.Now
	Log        *slog.Logger          // nil: none
	Metrics    prometheus.Registerer // nil: none
}

// Keeper writes records to the directory. A login never waits for it: what the disk does
// not take in time is lost, counted, and told once. It is safe for concurrent use.
type Keeper struct {
	cfg   Config
	names *Pseudonyms // nil: names are kept

	queue   chan *Record
	full    atomic.Bool // told that records are lost
	stop    chan struct{}
	stopped sync.Once
	wg      sync.WaitGroup // the writer; Stop waits

	written prometheus.Counter
	lost    *prometheus.CounterVec

	// The writer's own.
	file    *os.File
	day     string             // of file
	told    map[[2]string]bool // rules whose terms are in file: policy, rule
	buf     []byte
	room    []byte
	pending int  // records in buf
	failing bool // told that the disk takes nothing
	pruned  time.Time
}

// New makes a Keeper, and its directory.
func New(c Config) (*Keeper, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	k := &Keeper{
		cfg: c, queue: make(chan *Record, c.Queue), stop: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "postern", Subsystem: "inputs", Name: "written_total", Help: "Decisions whose inputs were written to disk.",
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postern", Subsystem: "inputs", Name: "lost_total",
			Help: "Decisions whose inputs are not kept; why is queue (the disk is too slow) or disk (it takes nothing).",
		}, []string{"why"}),
	}
	if c.Pseudonyms {
		var err error
		if k.names, err = NewPseudonyms(c.Ring, ""); err != nil {
			return nil, fmt.Errorf("pseudonyms of inputs: %w", err)
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of inputs: %w", err)
	}
	if err := Check(c.Dir); err != nil {
		return nil, err
	}
	if c.Metrics != nil {
		for _, m := range []prometheus.Collector{k.written, k.lost} {
			if err := c.Metrics.Register(m); err != nil {
				return nil, fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	for _, why := range []string{"queue", "disk"} {
		k.lost.WithLabelValues(why)
	}
	return k, nil
}

// Check says what is wrong with a directory for inputs. One that is not there will be
// made.
func Check(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("directory of inputs: %w", err)
	case !info.IsDir():
		return fmt.Errorf("directory of inputs: %s is a file", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("directory of inputs: %s is open to others (mode %v, want 0700)", dir, info.Mode().Perm())
	}
	return nil
}

// Start has the records written until Stop.
func (k *Keeper) Start() { k.wg.Go(k.write) } // Stop waits

// Stop writes what is there and ends. What comes later is lost.
func (k *Keeper) Stop() {
	k.stopped.Do(func() { close(k.stop) })
	k.wg.Wait()
}

// Write keeps a record, which must not be written to from then on.
func (k *Keeper) Write(r *Record) {
	select {
	case <-k.stop:
	default:
		select {
		case k.queue <- r:
			return
		default:
		}
	}
	k.lost.WithLabelValues("queue").Inc()
	if k.full.CompareAndSwap(false, true) {
		k.cfg.Log.Warn("inputs of decisions are lost: the disk is slower than they come", "dir", k.cfg.Dir)
	}
}

func (k *Keeper) write() {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	k.prune()
	for {
		select {
		case r := <-k.queue:
			k.add(r)
		case <-flush.C:
			k.flush()
			if k.cfg.Clock().Sub(k.pruned) >= pruneEvery {
				k.prune()
			}
		case <-k.stop:
			for {
				select {
				case r := <-k.queue:
					k.add(r)
					continue
				default:
				}
				break
			}
			k.close()
			return
		}
	}
}

// dayOf names the file of a moment.
func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// add puts a record into the buffer.
func (k *Keeper) add(r *Record) {
	if day := dayOf(r.At); day != k.day {
		k.close()
		k.day, k.told = day, make(map[[2]string]bool)
	}
	c := *r // the facts' slices are not written to
	if k.names != nil {
		k.names.hide(&c)
	}
	if rule := [2]string{c.Policy, c.Rule}; k.told[rule] {
		c.Terms = nil
	} else if c.Terms != nil {
		k.told[rule] = true
	}
	k.buf, k.room = appendRecord(k.buf, k.room, &c)
	if k.pending++; len(k.buf) >= flushAt {
		k.flush()
	}
}

// flush writes the buffer.
func (k *Keeper) flush() {
	if k.pending == 0 {
		if len(k.queue) == 0 {
			k.full.Store(false)
		}
		return
	}
	err := k.put()
	switch {
	case err == nil:
		k.written.Add(float64(k.pending))
		if k.failing {
			k.cfg.Log.Info("inputs of decisions are kept again", "dir", k.cfg.Dir)
		}
	case !k.failing: // once, not each second
		k.cfg.Log.Error("inputs of decisions are lost", "dir", k.cfg.Dir, "error", err)
	}
	if k.failing = err != nil; k.failing {
		k.lost.WithLabelValues("disk").Add(float64(k.pending))
		clear(k.told) // they may be among what is lost
	}
	k.buf, k.pending = k.buf[:0], 0
}

func (k *Keeper) put() (err error) {
	if k.file == nil {
		if k.file, err = os.OpenFile(filepath.Join(k.cfg.Dir, k.day+suffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	_, err = k.file.Write(k.buf)
	if err != nil { // a disk may come back as another
		_ = k.file.Close()
		k.file = nil
	}
	return err
}

// close writes the buffer and lets go of the file.
func (k *Keeper) close() {
	k.flush()
	if k.file != nil {
		if err := k.file.Close(); err != nil {
			k.cfg.Log.Error("inputs of decisions are lost", "dir", k.cfg.Dir, "error", err)
		}
		k.file = nil
	}
}

// prune deletes days that are over for longer than they are to be kept.
func (k *Keeper) prune() {
	k.pruned = k.cfg.Clock()
	days, err := daysOf(k.cfg.Dir)
	if err != nil {
		k.cfg.Log.Error("old inputs are not deleted", "dir", k.cfg.Dir, "error", err)
		return
	}
	for _, d := range days {
		if k.pruned.Sub(d.begins.Add(24*time.Hour)) <= k.cfg.Keep || dayOf(d.begins) == k.day {
			continue
		}
		if err := os.Remove(d.path); err != nil {
			k.cfg.Log.Error("old inputs are not deleted", "dir", k.cfg.Dir, "error", err)
		}
	}
}

// day is a file of records.
type day struct {
	path   string
	begins time.Time
	size   int64
}

// daysOf lists a directory's files in the order of their days.
func daysOf(dir string) ([]day, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var days []day
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), suffix)
		begins, err := time.Parse(time.DateOnly, name)
		if !ours || err != nil || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		days = append(days, day{filepath.Join(dir, e.Name()), begins, info.Size()})
	}
	return days, nil
}
