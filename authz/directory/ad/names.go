package ad

import (
	"sync"
	"time"
)

// names remembers which group a SID is: policies may name either, and AD tells a
// user's groups as SIDs. A group gets another name about never.
type names struct {
	mu    sync.Mutex
	known map[sid]named
}

type named struct {
	name  string // "": there is none
	until time.Time
}

// Ours.
const (
	nameTTL   = 10 * time.Minute
	noNameTTL = time.Minute // a group may be new and not yet be everywhere
	maxNames  = 16384
)

// find returns the names that are known, and the SIDs that somebody must ask for.
func (n *names) find(now time.Time, sids []sid) (found map[sid]string, missing []sid) {
	n.mu.Lock()
	defer n.mu.Unlock()
	found = make(map[sid]string, len(sids))
	for _, s := range sids {
		if k, ok := n.known[s]; ok && now.Before(k.until) {
			found[s] = k.name
		} else {
			missing = append(missing, s)
		}
	}
	return found, missing
}

// learn remembers the names of the SIDs that were asked for.
func (n *names) learn(now time.Time, asked []sid, found map[sid]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known)+len(asked) > maxNames {
		n.known = nil
	}
	if n.known == nil {
		n.known = make(map[sid]named)
	}
	for _, s := range asked {
		k := named{name: found[s], until: now.Add(nameTTL)}
		if k.name == "" {
			k.until = now.Add(noNameTTL)
		}
		n.known[s] = k
	}
}

// forget drops all: a group has changed, its name perhaps.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = nil
}
