// Package session is the registry of sessions on the shared store: opened when a
// login is accepted, started, touched and ended by accounting (RFC 2866), or ended
// here when a NAS falls silent.
//
//	             Start, Interim               Stop, On, Off, silence
//	Open → Pending ────────────→ Active ─────────────────────→ Closed
//	          └── not reported in time: forgotten, no history ──┘
//
// Every call may be repeated and come in any order; the history has one start and
// one stop of each session all the same: the mark that makes an event happen once
// and the event itself are one atomic sequence of the store. Silence is a
// deadline in the store's time, so no process needs to live for a session to end;
// [Registry.Sweep] only writes down what has lapsed already.
package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"postern/internal/store"
)

// Config of a Registry; the zero Config is a sane one.
type Config struct {
	Pending time.Duration // from accept to start, while it counts as live; 0: 1 min
	Interim time.Duration // what NAS are told (Acct-Interim-Interval); 0: 5 min
	Missed  int           // interims a session may miss; 0: 3
	History int           // events kept, about; 0: 100,000
	Keep    time.Duration // history without a new event is forgotten, and so are totals; 0: 90 days

	// Told is called for each start and stop behind the store's word, before the NAS is
	// answered. It may be called from many goroutines; nil: nobody is.
	Told func(*Told)
}

const (
	// marksLife remembers that a session has ended, for a NAS that repeats its
	// Stop days later from a spool.
	marksLife = 8 * 24 * time.Hour
	// recordSlack keeps a lapsed session's record for the sweeper.
	recordSlack = 7 * 24 * time.Hour
	// straySlack is by how much the clock of a NAS may run away from ours in a session.
	straySlack = time.Minute

	// seqStart is before any session time, markEnd beyond.
	seqStart = 1
	markEnd  = 1 << 52

	fieldStart, fieldStop, fieldSeq = "start", "stop", "seq"
	fieldOpen                       = "open:" // and the attempt

	// changes bounds how often a record is read anew because it changed meanwhile. Two
	// do at once in earnest: accounting and a step-up.
	changes = 16
)

var errChanging = errors.New("the record changes all the time")

// Registry is safe for concurrent use; all state is the store's.
type Registry struct {
	store store.Store
	cfg   Config
}

// New makes a registry.
func New(s store.Store, c Config) *Registry {
	if c.Pending <= 0 {
		c.Pending = time.Minute
	}
	if c.Interim <= 0 {
		c.Interim = 5 * time.Minute
	}
	if c.Missed <= 0 {
		c.Missed = 3
	}
	if c.History <= 0 {
		c.History = 100_000
	}
	if c.Keep <= 0 {
		c.Keep = 90 * 24 * time.Hour
	}
	return &Registry{s, c}
}

// Interim is the interval to tell the NAS.
func (r *Registry) Interim() time.Duration { return r.cfg.Interim }

// LeaseTime is how long a login leases its address for; the start of the session
// and each interim renew it. It outlives Pending, for a start that is spooled
// while no service answers.
func (r *Registry) LeaseTime() time.Duration { return max(r.cfg.Interim, r.cfg.Pending) }

// Silence is how long a session lives without a word.
func (r *Registry) Silence() time.Duration { return r.cfg.Interim * time.Duration(r.cfg.Missed) }

// Live counts a user's live sessions.
type Live struct{ op store.Members }

// Ask says what to load for a login.
func (r *Registry) Ask(user string) *Live {
	return &Live{store.Members{Key: store.UserLive(user)}}
}

// Seqs is what to put into the Do that loads the login.
func (l *Live) Seqs() []store.Seq { return []store.Seq{{&l.op}} }

// Count is the number of live sessions, pending ones included.
func (l *Live) Count() int { return l.op.N }

// Opening is the commit of an accepted login.
type Opening struct {
	r     *Registry
	rec   Record
	admit store.Admit
	first *store.Advance // nil: nobody can know whether it is
}

// Open makes a session pending. rec needs ID, Node, Acct, User and what is known.
// With a Pool the address is leased in the same trip (holder: ID) and so not known
// yet; the first report brings it.
// max is the user's limit of live sessions, 0: none. A session ID that is used
// again, as NAS do that count from zero after a restart, begins afresh, unless it is the
// same Attempt that opens it again: see Repeated.
func (r *Registry) Open(now time.Time, rec Record, max int) *Opening {
	rec.State, rec.Opened = Pending, now.UTC()
	return &Opening{r: r, rec: rec, admit: store.Admit{
		Live: store.UserLive(rec.User), Since: store.UserSince(rec.User),
		Member: rec.ID, For: r.cfg.Pending, Max: max, Spare: spare, Later: rec.Attempt != "",
	}}
}

// Replacing has the user's oldest sessions lose their places where there are too many, see
// Replaced.
func (o *Opening) Replacing() *Opening {
	o.admit.Replace = true
	return o
}

// UserSeqs is a guard under the user's tag: it is lost when the user has too
// many sessions. NodeSeqs is the rest, under tags of its own.
func (o *Opening) UserSeqs() []store.Seq { return []store.Seq{{&o.admit}} }

// NodeSeqs writes the session down.
func (o *Opening) NodeSeqs() []store.Seq {
	id := o.rec.ID
	write := store.Seq{&store.Delete{Key: store.SessionMarks(id)}, &store.Delete{Key: store.SessionWhy(id)}}
	if o.rec.Attempt != "" {
		opens := store.Advance{Key: store.SessionMarks(id), Field: fieldOpen + o.rec.Attempt, To: 1, TTL: o.r.Silence()}
		first, again := opens, opens
		o.first = &first
		write = append(store.Seq{o.first}, append(write, &again)...)
	}
	write = append(write,
		&store.Put{Key: store.Session(id), Value: o.rec.marshal(), TTL: o.r.Silence() + recordSlack},
	)
	write = append(write, waits(&o.rec, o.rec.Opened, 0)...)
	write = append(write, places(&o.rec, o.r.cfg.Pending)...)
	return []store.Seq{write, {&store.Enter{Key: store.NodeLive(o.rec.Node), Member: id, For: o.r.cfg.Pending, Later: o.rec.Attempt != ""}}}
}

// TooMany reports, when the commit came that far, that the user's limit was
// reached, or that the session has lost its place to a newer one meanwhile.
func (o *Opening) TooMany() bool {
	return !o.admit.OK && (o.admit.N < 0 || o.admit.Max > 0 && o.admit.N >= o.admit.Max)
}

// Repeated reports, when the commit came that far, that the same attempt had opened the
// session before. A NAS that heard nothing from one service asks another, and both may let
// it in, the first one late. The session is not begun afresh then: what the NAS has
// reported of it meanwhile stays. It is not to be abandoned, but settled.
func (o *Opening) Repeated() bool { return o.first != nil && !o.first.OK }

// Moved writes down that the address is of another pool than Open was told, before the NAS
// knows of the session. Of a repeated commit the record says so already.
func (o *Opening) Moved(ctx context.Context, pool string) error {
	before := o.rec.marshal()
	o.rec.Pool = pool
	if o.Repeated() {
		return nil
	}
	swap := &store.Swap{Key: store.Session(o.rec.ID), Old: before, New: o.rec.marshal(), TTL: o.r.Silence() + recordSlack}
	if err := o.r.store.Do(ctx, store.Seq{swap}); err != nil {
		return err
	}
	if !swap.OK {
		return fmt.Errorf("session %s: %w", o.rec.ID, errChanging)
	}
	return nil
}

// errGone: the service that had opened the session first has taken that back.
var errGone = errors.New("the session that this attempt had opened is gone")

// Settle joins the session that a repeated commit found, where the login is let in here as
// well: from then on nobody abandons it. Where it has ended meanwhile, or was abandoned,
// the commit is taken back, and where it was abandoned a login that would be let in fails.
// Of a session that lives the commit has changed nothing else: deadlines are moved later
// only.
func (o *Opening) Settle(ctx context.Context, letIn bool) error {
	for range changes {
		seen, err := o.r.Look(ctx, o.rec.ID)
		switch {
		case err != nil:
			return err
		case len(seen) == 0:
			marks := &store.Marks{Key: store.SessionMarks(o.rec.ID)}
			err := o.r.store.Do(ctx, append(o.r.forget(o.rec), store.Seq{marks})...)
			if err != nil || !letIn || marks.Last[fieldSeq] >= markEnd {
				return err
			}
			return fmt.Errorf("session %s: %w", o.rec.ID, errGone)
		case !letIn || seen[0].State != Pending || seen[0].Joined:
			return nil
		}
		joined := seen[0].Record
		joined.Joined = true
		op := &store.Swap{Key: store.Session(o.rec.ID), Old: seen[0].raw, New: joined.marshal(), TTL: o.r.Silence() + recordSlack}
		if err := o.r.store.Do(ctx, store.Seq{op}); err != nil || op.OK {
			return err
		}
	}
	return fmt.Errorf("session %s: %w", o.rec.ID, errChanging)
}

// Abandon takes back what a commit did whose guard was lost or whose pool was
// exhausted, unless the session has been reported, or joined by another service that let
// the same attempt in: a service may stand still before it comes to this. It is tidiness:
// what stays lapses by itself.
func (r *Registry) Abandon(ctx context.Context, rec Record) error {
	seen, err := r.Look(ctx, rec.ID)
	if err != nil || len(seen) == 0 || seen[0].State != Pending || seen[0].Joined {
		return err
	}
	still := &store.Swap{Key: store.Session(rec.ID), Old: seen[0].raw, New: seen[0].raw, TTL: recordSlack}
	own := slices.Concat(store.Seq{still, &store.Delete{Key: store.Session(rec.ID)}, &store.Delete{Key: store.SessionMarks(rec.ID)}}, noWaits(rec.ID), noPlaces(&rec))
	if err := r.store.Do(ctx, own); err != nil || !still.OK {
		return err
	}
	seqs := []store.Seq{noSeat(&rec), {&store.Leave{Key: store.NodeLive(rec.Node), Member: rec.ID}}}
	return r.store.Do(ctx, append(seqs, release(rec)...)...)
}

func release(rec Record) []store.Seq {
	if rec.Pool == "" {
		return nil
	}
	return []store.Seq{{&store.Release{Pool: rec.Pool, Holder: rec.ID}}}
}

// Report is one accounting message about a session.
type Report struct {
	Node, Acct string
	At         time.Time // when it happened, by the NAS and Acct-Delay-Time; zero: now
	Usage      Usage
	Width      Width
	Cause      Cause // of a Stop
	Disconnect Disconnect
	own        bool // nobody reported it

	// What the message says of the session; used where we know no better: a
	// session of another NAS' own, or one whose record is lost.
	Via          string
	User         string
	Source, Addr netip.Addr
	Decision     string // Class
}

// Outcome of a report.
type Outcome struct {
	Record Record
	First  bool // it started or ended the session in the history; a repetition does not
	Known  bool // there was a record, or marks of a session that has ended
	// AddressLost: the session's address is somebody else's by now, because it
	// was silent for too long. It must be disconnected.
	AddressLost bool
	// Stray: the session had been silent for so long that it was written off, and reports
	// all the same. It is nobody's any more, and must be disconnected.
	Stray bool
	// Going are the user's sessions that have lost their places to newer ones: somebody
	// must see to it that they end, see Dismiss. There are some for a moment only, unless
	// who replaced them has ended in between, or a NAS does not do what it is asked.
	Going []string

	began, ended *Event // what was written down
}

// Start reports Acct-Status-Type Start.
func (r *Registry) Start(ctx context.Context, rep Report) (Outcome, error) {
	return r.report(ctx, rep, seqStart, false)
}

// Touch reports Interim-Update. An older one that comes late changes nothing.
func (r *Registry) Touch(ctx context.Context, rep Report) (Outcome, error) {
	return r.report(ctx, rep, 2+int64(rep.Usage.Time/time.Second), false)
}

// Stop reports Stop, and starts the session in the history if its start was
// lost.
func (r *Registry) Stop(ctx context.Context, rep Report) (Outcome, error) {
	return r.report(ctx, rep, markEnd, true)
}

// report is two trips: what is known, and what becomes of it. seq orders the
// reports of one session. When the session was changed in between, a step-up for one,
// both are made again: the change must not be undone by what we knew.
func (r *Registry) report(ctx context.Context, rep Report, seq int64, stop bool) (Outcome, error) {
	self, first := rand.Text(), false
	var began *Event
	for range changes {
		out, done, err := r.reportOnce(ctx, rep, seq, stop, self)
		first = first || out.First
		if out.began != nil {
			began = out.began
			r.tell(began, false, rep.own)
		}
		if err != nil {
			return out, err
		}
		if !done {
			continue
		}
		switch {
		case out.ended != nil:
			r.tell(out.ended, !out.First, rep.own)
		case seq == seqStart && began == nil:
			r.tell(&Event{Kind: EventStart, At: out.Record.Started, Record: out.Record}, true, rep.own)
		}
		out.First = first
		return out, err
	}
	return Outcome{}, fmt.Errorf("session %s: %w", ID(rep.Node, rep.Acct), errChanging)
}

func (r *Registry) reportOnce(ctx context.Context, rep Report, seq int64, stop bool, self string) (_ Outcome, done bool, _ error) {
	id := ID(rep.Node, rep.Acct)
	get := &store.Get{Key: store.Session(id)}
	marks := &store.Marks{Key: store.SessionMarks(id)}
	said := &store.Get{Key: store.SessionWhy(id)}
	clock := &store.Time{}
	if err := r.store.Do(ctx, store.Seq{get, marks, said, clock}); err != nil {
		return Outcome{}, false, err
	}
	rec := Record{
		ID: id, Node: rep.Node, Acct: rep.Acct, Via: rep.Via, User: rep.User, Source: rep.Source, Addr: rep.Addr,
		Decision: rep.Decision, Opened: clock.Now,
	}
	if get.Found {
		var err error
		if rec, err = parseRecord(get.Value); err != nil {
			return Outcome{}, false, err
		}
	}
	out := Outcome{Record: rec, Known: get.Found || marks.Last[fieldStart] != 0 || marks.Last[fieldSeq] != 0}
	if marks.Last[fieldSeq] >= markEnd {
		out.Record.State = Closed
		opened := marks.Note[fieldStart]
		if !stop { // it has ended
			if began := clock.Now.Add(-rep.Usage.Time); opened != 0 && seq > seqStart {
				out.Record.Opened = time.UnixMilli(opened).UTC()
				// Else its NAS, which asks others for logins, counts from zero again.
				out.Stray = !began.After(out.Record.Opened.Add(r.cfg.Pending + straySlack))
			}
			return out, true, nil
		}
		out.ended = again(rec, &rep, opened, clock.Now)
		if rec.User == "" || opened == 0 {
			return out, true, nil
		}
		// The one who ended it may not have come to counting.
		rec.Opened = time.UnixMilli(opened)
		total := r.total(&rec, rep.Usage, Usage{})
		total.Known = true
		return out, true, r.store.Do(ctx, store.Seq{total})
	}
	at := rep.At
	if at.IsZero() || at.After(clock.Now) {
		at = clock.Now
	}
	rec.Touched = clock.Now
	if !rec.Addr.IsValid() {
		rec.Addr = rep.Addr
	}
	if rec.Started.IsZero() {
		rec.Started = at.Add(-rep.Usage.Time)
	}
	before := rec.Usage
	rec.Usage = rep.Usage.after(before, rep.Width)
	rec.State = Active
	started := rec // the event shows no more than a start knows
	started.Usage, started.Touched = Usage{}, time.Time{}
	begin := r.event(id, fieldStart, Event{Kind: EventStart, At: rec.Started, Record: started})
	seqs := []store.Seq{begin}
	var end store.Seq
	var renew *store.Renew
	var stay *store.Stay
	var order *store.Advance
	var write *store.Swap
	if stop {
		rec.State, rec.Ended, rec.Cause, rec.Disconnect = Closed, at, rep.Cause, rep.Disconnect
		if w := parseWhy(said); w.Opened.Equal(rec.Opened) {
			rec.Why, rec.WhyDetail = w.Reason, w.Detail
		}
		out.ended = &Event{Kind: EventStop, At: at, Record: rec}
		end = r.event(id, fieldStop, Event{Kind: EventStop, At: at, Record: rec})
		end = append(end,
			&store.Advance{Key: store.SessionMarks(id), Field: fieldSeq, To: markEnd, TTL: marksLife},
			&store.Delete{Key: store.Session(id)},
			&store.Delete{Key: store.SessionWhy(id)},
		)
		end = append(end, noWaits(id)...)
		end = append(end, noPlaces(&rec)...)
		seqs = append(seqs, end)
		gone := r.forget(rec)
		if rec.User != "" {
			gone[1] = append(gone[1], r.total(&rec, rec.Usage, before))
		}
		seqs = append(seqs, gone...)
	} else {
		order = &store.Advance{Key: store.SessionMarks(id), Field: fieldSeq, To: seq, ID: self, TTL: marksLife}
		write = &store.Swap{Key: store.Session(id), Absent: !get.Found, Old: get.Value, New: rec.marshal(), TTL: r.Silence() + recordSlack}
		seqs = append(seqs,
			append(store.Seq{order, write}, places(&rec, r.Silence())...),
			store.Seq{&store.Enter{Key: store.NodeLive(rec.Node), Member: id, For: r.Silence()}},
			store.Seq{&store.Enter{Key: store.Nodes(), Member: rec.Node, For: r.Silence()}},
		)
		if rec.User != "" {
			stay = &store.Stay{Live: store.UserLive(rec.User), Since: store.UserSince(rec.User), Member: id, For: r.Silence()}
			seqs = append(seqs, store.Seq{stay, r.total(&rec, rec.Usage, before)})
		}
		if rec.Pool != "" {
			renew = &store.Renew{Pool: rec.Pool, Holder: id, TTL: r.Silence()}
			seqs = append(seqs, store.Seq{renew})
		}
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return Outcome{}, false, err
	}
	out.First = begin[0].(*store.Advance).OK
	if out.First {
		out.began = &Event{Kind: EventStart, At: rec.Started, Record: started}
	}
	switch {
	case stop:
		out.First = end[0].(*store.Advance).OK
	case order.Last >= markEnd && !order.OK:
		// It ended between our two trips: what we just entered goes again, even if the NAS
		// has no more patience.
		if err := r.store.Do(context.WithoutCancel(ctx), r.forget(rec)...); err != nil {
			return Outcome{}, false, err
		}
		out.Record.State, out.First = Closed, false
		out.Record.Started = rec.Started
		return out, true, nil
	case order.OK && !write.OK:
		return out, false, nil
	}
	out.Record = rec
	if renew != nil {
		out.AddressLost = !renew.OK || rec.Addr.IsValid() && renew.Addr != rec.Addr
	}
	if stay != nil {
		out.Going = stay.Going
	}
	if w := parseWhy(said); !get.Found && w.Reason != "" {
		// It was to end before its NAS had reported it, and was forgotten by then.
		w.Opened, w.Asked = rec.Opened, clock.Now
		if _, err := r.AskEnd(ctx, w.wish(id)); err != nil {
			return Outcome{}, false, err
		}
	}
	return out, true, nil
}

// event is a sequence that appends an event the first time.
func (r *Registry) event(id, field string, e Event) store.Seq {
	return store.Seq{
		&store.Advance{Key: store.SessionMarks(id), Field: field, To: 1, Note: e.Opened.UnixMilli(), TTL: marksLife},
		&store.Append{Key: store.History(id), Event: e.marshal(),
			Max: max(r.cfg.History/len(store.Histories()), 1), TTL: r.cfg.Keep},
	}
}

// forget takes a session out of the indexes, the node's and then the user's, and gives its
// address back.
func (r *Registry) forget(rec Record) []store.Seq {
	seqs := []store.Seq{{&store.Leave{Key: store.NodeLive(rec.Node), Member: rec.ID}}}
	if rec.User != "" {
		seqs = append(seqs, noSeat(&rec))
	}
	return append(seqs, release(rec)...)
}
