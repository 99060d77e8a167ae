package store

import "sync"

// watchQueue is how many messages a reader may lag behind before it loses some.
const watchQueue = 64

type message struct{ topic, text string }

// bus is publish and watch inside one process.
type bus struct {
	mu   sync.Mutex
	subs map[string]map[chan string]struct{}
}

func (b *bus) join(topic string) (ch chan string, leave func()) {
	ch = make(chan string, watchQueue)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[string]map[chan string]struct{})
	}
	if b.subs[topic] == nil {
		b.subs[topic] = make(map[chan string]struct{})
	}
	b.subs[topic][ch] = struct{}{}
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs[topic], ch)
		if len(b.subs[topic]) == 0 {
			delete(b.subs, topic)
		}
		close(ch)
	}
}

func (b *bus) send(ms []message) {
	if len(ms) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range ms {
		for ch := range b.subs[m.topic] {
			select {
			case ch <- m.text:
			default: // a slow reader loses messages
			}
		}
	}
}
