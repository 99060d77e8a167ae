package lockout

import (
	"sync"
	"time"
)

// maxRemembered bounds what a service remembers of locks.
const maxRemembered = 8192

// longestRemembered bounds how long it does: an operator may lift a lock, and an error
// costs a trip to the store.
const longestRemembered = time.Minute

// memory knows of some names until when they are remembered, on a clock of its own. It
// is an opinion: what decides is in the store. It is safe for concurrent use.
type memory struct {
	now  func() time.Time
	most int

	mu sync.Mutex
	m  map[string]time.Time
}

func newMemory(most int) *memory {
	return &memory{now: time.Now, most: most, m: make(map[string]time.Time)}
}

// note remembers a name for so long, and says whether it was not.
func (m *memory) note(name string, d time.Duration) bool {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	had, known := m.m[name]
	if !known && len(m.m) >= m.most {
		m.forgetLocked(now)
	}
	m.m[name] = now.Add(min(d, longestRemembered))
	return !known || !had.After(now)
}

// has says whether a name is remembered.
func (m *memory) has(name string) bool {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	until, known := m.m[name]
	return known && until.After(now)
}

// forget drops a name.
func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, name)
}

// forgetLocked drops what is over; if that is nothing, all of it.
func (m *memory) forgetLocked(now time.Time) {
	for name, until := range m.m {
		if !until.After(now) {
			delete(m.m, name)
		}
	}
	if len(m.m) >= m.most {
		clear(m.m)
	}
}
