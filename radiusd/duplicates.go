package radiusd

import (
	"net/netip"
	"sync"
	"time"

	"postern/internal/radius"
)

const (
	// keepReplies is how long a reply is kept for a repetition of its request; RFC 5080
	// §2.2.2 wants 5 to 30 s, and Identifiers return sooner with busy clients.
	keepReplies = 5 * time.Second
	// maxReplies bounds them. Who cannot sign cannot fill the cache, unless a client
	// need not sign.
	maxReplies = 1 << 16
	numShards  = 16
)

// fingerprint identifies a request: a repetition has the same (RFC 5080 §2.2.2). It is
// made of a packet that was believed.
type fingerprint struct {
	from  netip.AddrPort
	space uint64 // RadSec: the connection; each has Identifiers of its own (RFC 6613 §2.6.1)
	via   radius.Transport
	code  byte
	id    byte
	auth  [16]byte
}

// duplicates remembers requests in work, and replies for keepReplies.
type duplicates struct{ shards [numShards]shard }

type shard struct {
	mu      sync.Mutex
	replies map[fingerprint][]byte // nil: in work
	old     []kept                 // those that have a reply, oldest first
	first   int                    // of old that is not forgotten
}

type kept struct {
	fingerprint
	until time.Time
}

// seen is what the cache knows of a request. The zero value is nothing: it is new
// and, from now on, in work until finish.
type seen uint8

const (
	seenNever seen = iota
	seenInWork
	seenAnswered
)

func (d *duplicates) shard(r *fingerprint) *shard { return &d.shards[r.auth[0]%numShards] }

// begin looks r up. The reply must not be changed.
func (d *duplicates) begin(now time.Time, r fingerprint) ([]byte, seen) {
	s := d.shard(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.first < len(s.old) && !now.Before(s.old[s.first].until) {
		s.forgetOldestLocked()
	}
	switch reply, ok := s.replies[r]; {
	case !ok:
	case reply == nil:
		return nil, seenInWork
	default:
		return reply, seenAnswered
	}
	if s.replies == nil {
		s.replies = make(map[fingerprint][]byte)
	}
	s.replies[r] = nil
	return nil, seenNever
}

// finish ends the work on r. A request that was left without an answer is forgotten:
// its repetition is a new one, and may have more luck.
func (d *duplicates) finish(now time.Time, r fingerprint, reply []byte) {
	s := d.shard(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply == nil {
		delete(s.replies, r)
		return
	}
	if len(s.old)-s.first == maxReplies/numShards {
		s.forgetOldestLocked()
	}
	s.replies[r] = reply
	s.old = append(s.old, kept{r, now.Add(keepReplies)})
}

// forgetOldestLocked forgets the oldest reply.
func (s *shard) forgetOldestLocked() {
	delete(s.replies, s.old[s.first].fingerprint)
	s.first++
	if s.first > len(s.old)/2 {
		s.old = s.old[:copy(s.old, s.old[s.first:])]
		s.first = 0
	}
}
