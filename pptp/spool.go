package pptp

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

// spool keeps accounting records until a service has answered them, over a restart
// too. Records of one session are sent in their order; an Interim that is overtaken
// by a later record of its session is dropped, since every record counts from the
// session's beginning.
type spool struct {
	dir string // empty: memory only
	max int
	log *slog.Logger
	len *atomic.Int64

	mu    sync.Mutex
	seq   uint64
	lanes [spoolLanes]lane
}

// spoolLanes is how many records are under way at a time.
const spoolLanes = 8

const (
	spoolSuffix = ".acct"
	// A round of all services has failed: wait before the next, longer each time.
	spoolRetryMin = time.Second
	spoolRetryMax = 30 * time.Second
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

	file string
}

// attr is one attribute; RADIUS' own encoding of a packet would need a secret.
type attr struct {
	Type  radius.Type `json:"t"`
	Value []byte      `json:"v"`
}

// openSpool reads what an earlier process left in dir, making it if need be.
func openSpool(dir string, maxRecords int, log *slog.Logger, length *atomic.Int64) (*spool, error) {
	sp := &spool{dir: dir, max: cmp.Or(maxRecords, 100_000), log: log, len: length}
	for i := range sp.lanes {
		sp.lanes[i].wake = make(chan struct{}, 1)
	}
	if dir == "" {
		return sp, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("accounting spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+spoolSuffix))
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
		_, _ = fmt.Sscanf(strings.TrimSuffix(filepath.Base(name), spoolSuffix), "%x", &sp.seq)
		sp.push(r)
	}
	return sp, nil
}

// add takes a record over. It does not block but for the file, which is small and
// not synced: a machine that crashes loses its sessions anyway.
func (sp *spool) add(session string, status rfc2866.AcctStatusType, p *radius.Packet, now time.Time) {
	r := &record{Session: session, Status: status, At: now}
	for _, a := range p.Attributes {
		r.Attrs = append(r.Attrs, attr{a.Type, a.Attribute})
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.seq++
	if sp.dir != "" && status != acctInterim {
		r.file = filepath.Join(sp.dir, fmt.Sprintf("%016x%s", sp.seq, spoolSuffix))
		b, err := json.Marshal(r)
		if err == nil {
			err = writeWhole(r.file, b)
		}
		if err != nil {
			sp.log.Error("accounting record kept in memory only", "error", err)
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
func (sp *spool) push(r *record) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.Session))
	l := &sp.lanes[h.Sum32()%spoolLanes]
	// The first may be under way; what stands behind it may go.
	for i := len(l.queue) - 1; i >= 1; i-- {
		if q := l.queue[i]; q.Session == r.Session && q.Status == acctInterim {
			l.queue = slices.Delete(l.queue, i, i+1)
			sp.len.Add(-1)
		}
	}
	if sp.len.Load() >= int64(sp.max) {
		sp.shed(l)
	}
	l.queue = append(l.queue, r)
	sp.len.Add(1)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// shed makes room: an Interim if there is one, else a Start, whose Stop says it all, else
// the oldest that waits.
func (sp *spool) shed(l *lane) {
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
	sp.log.Error("accounting spool full, record dropped", "session", l.queue[i].Session, "status", l.queue[i].Status.String())
	sp.remove(l.queue[i])
	l.queue = slices.Delete(l.queue, i, i+1)
	sp.len.Add(-1)
}

func (sp *spool) remove(r *record) {
	if r.file != "" {
		if err := os.Remove(r.file); err != nil && !errors.Is(err, os.ErrNotExist) {
			sp.log.Error("accounting record not removed", "error", err)
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

// send works lane i until ctx ends.
func (sp *spool) send(ctx context.Context, i int, ask func() radius.Exchanger) {
	l := &sp.lanes[i]
	wait := spoolRetryMin
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
		if err := sp.exchange(ctx, r, ask()); err != nil {
			if ctx.Err() != nil {
				return
			}
			sp.log.Warn("accounting not answered, kept", "session", r.Session, "status", r.Status.String(), "error", err)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			wait = min(2*wait, spoolRetryMax)
			continue
		}
		wait = spoolRetryMin
		sp.mu.Lock()
		sp.remove(r)
		l.queue = slices.Delete(l.queue, 0, 1)
		sp.mu.Unlock()
		sp.len.Add(-1)
	}
}

// exchange sends r once to whoever answers. Acct-Delay-Time says how old it is
// (RFC 2866 §5.2).
func (sp *spool) exchange(ctx context.Context, r *record, x radius.Exchanger) error {
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

// drain waits until everything is answered or ctx ends.
func (sp *spool) drain(ctx context.Context) {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for sp.len.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
