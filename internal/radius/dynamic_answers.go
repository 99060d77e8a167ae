package radius

import (
	"sync"
	"time"
)

// question identifies a request of RFC 5176 whoever sends it: its Authenticator is
// made of everything in it and the secret (§2.3), so that a copy that comes from
// another address or on another connection is the same.
type question struct {
	via  Transport
	code Code
	id   byte
	auth [authLen]byte
}

// known is what there is about a question. The zero value is nothing: it is new and,
// from now on, in work until finish.
type known uint8

const (
	knownNot known = iota
	knownInWork
	knownAnswered
	knownFull // new, and there is no room to remember it
)

// answered remembers requests for as long as they would be believed again. One that
// is forgotten could be replayed, so when it is full nothing new is taken.
type answered struct {
	mu    sync.Mutex
	of    map[question]answer
	swept time.Time
}

type answer struct {
	reply []byte // nil: in work
	until time.Time
}

// answersSweep is how often what is over is looked for, at the most.
const answersSweep = 10 * time.Second

// begin looks q up. The reply must not be changed.
func (a *answered) begin(now time.Time, q question) ([]byte, known) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.swept) >= answersSweep {
		a.swept = now
		for q, one := range a.of {
			if one.reply != nil && now.After(one.until) {
				delete(a.of, q)
			}
		}
	}
	one, ok := a.of[q]
	switch {
	case ok && one.reply == nil:
		return nil, knownInWork
	case ok:
		return one.reply, knownAnswered
	case len(a.of) >= dynamicAnswers:
		return nil, knownFull
	}
	if a.of == nil {
		a.of = make(map[question]answer)
	}
	a.of[q] = answer{}
	return nil, knownNot
}

// finish ends the work on q. One that was left without an answer is forgotten.
func (a *answered) finish(q question, reply []byte, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reply == nil {
		delete(a.of, q)
		return
	}
	a.of[q] = answer{reply, until}
}
