package portal

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// healthFor is how long an answer is given again: a balancer that asks often, and
// whoever else does, costs the store one question a second.
const (
	healthFor  = time.Second
	healthTime = 2 * time.Second
)

type health struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

// healthPage is for balancers: 200 or 503, and nothing about why.
func (v *visitor) healthPage() {
	h := &v.s.health
	h.mu.Lock()
	now := v.s.now()
	if age := now.Sub(h.asked); h.asked.IsZero() || age >= healthFor || age < 0 {
		// Not the request's context: who hangs up must not make us ill.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(v.r.Context()), healthTime)
		h.err = v.s.backend.Healthy(ctx)
		cancel()
		h.asked = now
	}
	err := h.err
	h.mu.Unlock()
	if err != nil {
		v.send(http.StatusServiceUnavailable, "text/plain; charset=utf-8", []byte("unavailable\n"))
		return
	}
	v.send(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}
