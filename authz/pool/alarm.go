package pool

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Alarms tell of pools that fill up, before logins are refused for it. Each is logged
// once when it begins and once when it ends. They are safe for concurrent use.
type Alarms struct {
	percent int
	log     *slog.Logger

	mu   sync.Mutex
	ring map[string]time.Time // since when, by pool
}

// calm is how far below the threshold, in percent of the pool, an alarm ends, ours: users
// come and go all the time, and one of them is no news.
const calm = 5

// NewAlarms makes alarms for pools of which percent of the addresses are leased; 0: none.
func NewAlarms(percent int, log *slog.Logger) *Alarms {
	return &Alarms{percent: percent, log: log.With("layer", "pool"), ring: map[string]time.Time{}}
}

// Look takes how full pools are. One that is not among them is not there any more.
func (a *Alarms) Look(now time.Time, all []Usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gone := maps.Clone(a.ring)
	for _, u := range all {
		delete(gone, u.Name)
		since, rings := a.ring[u.Name]
		switch full := 100 * u.Used; {
		case a.percent == 0:
		case !rings && full >= a.percent*u.Size:
			a.ring[u.Name] = now
			a.log.Error("pool needs attention", "pool", u.Name, "used", u.Used, "size", u.Size, "percent", a.percent,
				"remedy", "enlarge the pool, or name another one beside it in the rule: logins are refused when it is exhausted")
		case rings && full < max(1, a.percent-calm)*u.Size:
			delete(a.ring, u.Name)
			a.log.Info("pool is in order again", "pool", u.Name, "used", u.Used, "size", u.Size, "after", now.Sub(since))
		}
	}
	for name, since := range gone {
		delete(a.ring, name)
		a.log.Info("pool is not in the policy any more", "pool", name, "after", now.Sub(since))
	}
}

// Ringing are the pools that need attention.
func (a *Alarms) Ringing() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.ring))
}
