// Package spool keeps accounting records (RFC 2866) until somebody has answered them,
// over a restart too: a node's for its services, and a service's for the accounting
// servers it forwards to.
//
// Records of one session are sent in their order; an Interim that is overtaken by a later
// record of its session is dropped, since every record counts from the session's beginning.
package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/internal/radius"
)

// Config is what Open needs.
type Config struct {
	Dir string // where Starts and Stops outlive the process; empty: memory only
	Max int    // records that wait; 0: 100,000
	Log *slog.Logger

	Length  *atomic.Int64 // kept at how many wait
	Dropped func()        // called for each record that is given up; nil: nobody is
}

// Spool is safe for concurrent use.
type Spool struct {
	cfg Config

	mu    sync.Mutex
	seq   uint64
	lanes [lanes]lane
}

// Acct-Status-Type (RFC 2866 §5.1).
const (
	acctStart   = rfc2866.AcctStatusType_Value_Start
	acctStop    = rfc2866.AcctStatusType_Value_Stop
	acctInterim = rfc2866.AcctStatusType_Value_InterimUpdate
)

// lanes is how many records are under way at a time.
const lanes = 8

const (
	suffix = ".acct"
	// A round of all services has failed: wait before the next, longer each time.
	retryMin = time.Second
	retryMax = 30 * time.Second
)

// lane is one queue; a session's records all stand in the same.
type lane struct {
	queue []*record
	wake  chan struct{}
}

// record is one Accounting-Request.
type record struct {
	Session string                 `json:"session"`
	Status  rfc2866.AcctStatusType `json:"status"`
	At      time.Time              `json:"at"`
	Attrs   []attr                 `json:"attributes"`

	file     string
	answered func() // nil: nobody wants to know
}

// attr is one attribute; RADIUS' own encoding of a packet would need a secret.
type attr struct {
	Type  radius.Type `json:"t"`
	Value []byte      `json:"v"`
}

// Open reads what an earlier process left in the directory, making it if need be.
func Open(cfg Config) (*Spool, error) {
	cfg.Max = cmp.Or(cfg.Max, 100_000)
	sp := &Spool{cfg: cfg}
	dir, log := cfg.Dir, cfg.Log
	for i := range sp.lanes {
		sp.lanes[i].wake = make(chan struct{}, 1)
	}
	if dir == "" {
		return sp, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("accounting spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("accounting spool: %w", err)
	}
	slices.Sort(names) // by sequence number, which is the order of writing
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("accounting spool: %w", err)
		}
		r := new(record)
		if err := json.Unmarshal(b, r); err != nil {
			log.Error("unreadable accounting record set aside", "file", name, "error", err)
			_ = os.Rename(name, name+".bad")
			continue
		}
		r.file = name
		_, _ = fmt.Sscanf(strings.TrimSuffix(filepath.Base(name), suffix), "%x", &sp.seq)
		sp.push(r)
	}
	return sp, nil
}

// Add takes a record over. It does not block but for the file, which is small and
// not synced: a machine that crashes loses its sessions anyway.
func (sp *Spool) Add(session string, status rfc2866.AcctStatusType, p *radius.Packet, now time.Time) {
	sp.AddAnd(session, status, p, now, nil)
}

// AddAnd is Add, and calls answered, in a goroutine of the spool's, when somebody has
// answered the record. It is not called for one that is given up.
func (sp *Spool) AddAnd(session string, status rfc2866.AcctStatusType, p *radius.Packet, now time.Time, answered func()) {
	r := &record{Session: session, Status: status, At: now, answered: answered}
	for _, a := range p.Attributes {
		r.Attrs = append(r.Attrs, attr{a.Type, a.Attribute})
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.seq++
	if sp.cfg.Dir != "" && status != acctInterim {
		r.file = filepath.Join(sp.cfg.Dir, fmt.Sprintf("%016x%s", sp.seq, suffix))
		b, err := json.Marshal(r)
		if err == nil {
			err = writeWhole(r.file, b)
		}
		if err != nil {
			sp.cfg.Log.Error("accounting record kept in memory only", "error", err)
			r.file = ""
		}
	}
	sp.push(r)
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(name string, b []byte) error {
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// push queues r. mu is held, or nobody else knows sp yet.
func (sp *Spool) push(r *record) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.Session))
	l := &sp.lanes[h.Sum32()%lanes]
	// The first may be under way; what stands behind it may go.
	for i := len(l.queue) - 1; i >= 1; i-- {
		if q := l.queue[i]; q.Session == r.Session && q.Status == acctInterim {
			l.queue = slices.Delete(l.queue, i, i+1)
			sp.cfg.Length.Add(-1)
		}
	}
	if sp.cfg.Length.Load() >= int64(sp.cfg.Max) {
		sp.shed(l)
	}
	l.queue = append(l.queue, r)
	sp.cfg.Length.Add(1)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// shed makes room: an Interim if there is one, else a Start, whose Stop says it all, else
// the oldest that waits.
func (sp *Spool) shed(l *lane) {
	if len(l.queue) < 2 {
		return
	}
	i := 0
	for _, status := range [...]rfc2866.AcctStatusType{acctInterim, acctStart} {
		if i == 0 {
			i = 1 + slices.IndexFunc(l.queue[1:], func(r *record) bool { return r.Status == status })
		}
	}
	i = max(i, 1)
	sp.cfg.Log.Error("accounting spool full, record dropped", "session", l.queue[i].Session, "status", l.queue[i].Status.String())
	sp.dropped()
	sp.remove(l.queue[i])
	l.queue = slices.Delete(l.queue, i, i+1)
	sp.cfg.Length.Add(-1)
}

func (sp *Spool) dropped() {
	if sp.cfg.Dropped != nil {
		sp.cfg.Dropped()
	}
}

func (sp *Spool) remove(r *record) {
	if r.file != "" {
		if err := os.Remove(r.file); err != nil && !errors.Is(err, os.ErrNotExist) {
			sp.cfg.Log.Error("accounting record not removed", "error", err)
		}
	}
}

// next brings to the front what is to be sent next: the first Stop, since others wait for
// its address and its place, or the first of all. What is left of its session before it
// goes first. nil: there is nothing.
func (l *lane) next() *record {
	if len(l.queue) == 0 {
		return nil
	}
	i := slices.IndexFunc(l.queue, func(r *record) bool { return r.Status == acctStop })
	if i < 0 {
		return l.queue[0]
	}
	i = slices.IndexFunc(l.queue, func(r *record) bool { return r.Session == l.queue[i].Session })
	r := l.queue[i]
	copy(l.queue[1:i+1], l.queue[:i])
	l.queue[0] = r
	return r
}

// Run sends records to whom ask says, until ctx ends.
func (sp *Spool) Run(ctx context.Context, ask func() radius.Exchanger) {
	var wg sync.WaitGroup
	for i := range lanes {
		wg.Go(func() { sp.send(ctx, i, ask) }) // waited for below
	}
	wg.Wait()
}

// unsendable says of an error that asking again gives the same: the record does not fit
// into a packet, say.
func unsendable(err error) bool {
	for _, passing := range []error{radius.ErrNoAnswer, radius.ErrNoService, radius.ErrClosed, errUnexpected, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, passing) {
			return false
		}
	}
	return true
}

var errUnexpected = errors.New("answered with an unexpected code")

// send works lane i until ctx ends.
func (sp *Spool) send(ctx context.Context, i int, ask func() radius.Exchanger) {
	l := &sp.lanes[i]
	wait := retryMin
	for {
		sp.mu.Lock()
		r := l.next()
		sp.mu.Unlock()
		if r == nil {
			select {
			case <-l.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := sp.exchange(ctx, r, ask())
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return
		case unsendable(err): // nothing behind it must wait for it
			sp.cfg.Log.Error("accounting record dropped: it cannot be sent", "session", r.Session, "status", r.Status.String(), "error", err)
			sp.dropped()
		default:
			sp.cfg.Log.Warn("accounting not answered, kept", "session", r.Session, "status", r.Status.String(), "error", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			wait = min(2*wait, retryMax)
			continue
		}
		wait = retryMin
		sp.mu.Lock()
		sp.remove(r)
		l.queue = slices.Delete(l.queue, 0, 1)
		sp.mu.Unlock()
		sp.cfg.Length.Add(-1)
		if err == nil && r.answered != nil {
			r.answered()
		}
	}
}

// exchange sends r once to whoever answers. Acct-Delay-Time says how old it is
// (RFC 2866 §5.2).
func (sp *Spool) exchange(ctx context.Context, r *record, x radius.Exchanger) error {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	for _, a := range r.Attrs {
		p.Add(a.Type, a.Value)
	}
	delay := max(time.Since(r.At), 0)
	if err := rfc2866.AcctDelayTime_Set(p, rfc2866.AcctDelayTime(delay/time.Second)); err != nil {
		return err
	}
	if _, err := rfc2869.EventTimestamp_Lookup(p); err != nil {
		if err := rfc2869.EventTimestamp_Set(p, r.At); err != nil {
			return err
		}
	}
	reply, err := x.Exchange(ctx, p)
	switch {
	case err != nil:
		return err
	case reply.Code != radius.CodeAccountingResponse:
		return fmt.Errorf("%w: %v", errUnexpected, reply.Code)
	}
	return nil
}

// Drain waits until everything is answered or ctx ends.
func (sp *Spool) Drain(ctx context.Context) {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for sp.cfg.Length.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
