package session

import (
	"context"
	"slices"
	"strconv"
	"time"

	"postern/internal/store"
)

// Usage is what a session has used, from the NAS' accounting; 64 bits
// (Acct-*-Gigawords are the caller's to add). In is from the client.
type Usage struct {
	Time       time.Duration `json:"time,omitempty"`
	InOctets   uint64        `json:"in,omitempty"`
	OutOctets  uint64        `json:"out,omitempty"`
	InPackets  uint64        `json:"in_packets,omitempty"`
	OutPackets uint64        `json:"out_packets,omitempty"`
}

// Width says how many bits of its octets a NAS reports. Packets always have 32: RADIUS
// has no Gigawords for them.
type Width uint8

const (
	Wide   Width = iota // 64, with Acct-Input-Gigawords and -Output-Gigawords (RFC 2869 §5.1, §5.2)
	Narrow              // 32
)

// after is a report's usage once more, with the turns counted that its 32-bit counters
// made since before. A report that says less than the one before has nothing new.
func (u Usage) after(before Usage, w Width) Usage {
	if u.Time < before.Time {
		return before
	}
	if w == Narrow {
		u.InOctets, u.OutOctets = unfold(u.InOctets, before.InOctets), unfold(u.OutOctets, before.OutOctets)
	}
	u.InPackets, u.OutPackets = unfold(u.InPackets, before.InPackets), unfold(u.OutPackets, before.OutPackets)
	return u
}

// unfold is a counter of which now are the low 32 bits. One that has fallen from its upper
// half has gone over its end; any other was left out, or begun again, by a NAS that should
// not: it stays where it was.
func unfold(now, before uint64) uint64 {
	const turn = 1 << 32
	switch low := before % turn; {
	case now >= turn || now >= low && before < turn:
		return max(now, before)
	case now >= low:
		return before - low + now
	case low >= turn/2 && now < turn/2:
		return before - low + turn + now
	default:
		return before
	}
}

// counters are what is added up for a user.
func (u Usage) counters() []uint64 {
	return []uint64{uint64(max(u.Time, 0) / time.Second), u.InOctets, u.OutOctets, u.InPackets, u.OutPackets}
}

const numCounters = 5

// countedOf is how many sessions of a user are remembered by name, so that their reports
// count once even where an answer was lost on the way; a report of any other counts from
// what its session's record says.
const countedOf = 64

// total is what adds a session's counters to its user's. An ID may be used again, as by NAS
// that count from zero after a restart.
func (r *Registry) total(rec *Record, now, before Usage) *store.Total {
	return &store.Total{
		Key: store.UserUsed(rec.User), Source: rec.ID + "@" + strconv.FormatInt(rec.Opened.UnixMilli(), 36),
		Now: now.counters(), Base: before.counters(), Keep: countedOf, TTL: r.cfg.Keep,
	}
}

// Totals is what all sessions of a user have used, those that run included.
type Totals struct {
	User     string    `json:"user"`
	Since    time.Time `json:"since,omitzero"` // of the first report; zero: there was none
	At       time.Time `json:"at,omitzero"`    // of the last one
	Sessions uint64    `json:"sessions"`       // that reported anything
	Usage    Usage     `json:"usage,omitzero"`
}

// Totals reads what users have used. They are forgotten with the history.
func (r *Registry) Totals(ctx context.Context, users ...string) ([]Totals, error) {
	var all []Totals
	for some := range slices.Chunk(users, page) {
		ops := make([]*store.Totals, len(some))
		seqs := make([]store.Seq, len(some))
		for i, u := range some {
			ops[i] = &store.Totals{Key: store.UserUsed(u), N: numCounters}
			seqs[i] = store.Seq{ops[i]}
		}
		if err := r.store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for i, op := range ops {
			t := Totals{User: some[i]}
			if op.Found {
				t.Since, t.At, t.Sessions = op.Since.UTC(), op.At.UTC(), op.Sources
				t.Usage = Usage{
					Time: time.Duration(min(op.Sum[0], uint64(maxTime/time.Second))) * time.Second, InOctets: op.Sum[1],
					OutOctets: op.Sum[2], InPackets: op.Sum[3], OutPackets: op.Sum[4],
				}
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// maxTime is what a Duration holds, 292 years.
const maxTime time.Duration = 1<<63 - 1
