package follow

import (
	"context"
	"sync"
	"time"

	"postern/authz"
	"postern/authz/session"
)

// maxStrays bounds how many sessions are being ended at once that were written off. Who
// finds no room is told of again: by the next report.
const maxStrays = 256

// strays are the sessions of which a NAS is being told that they are nobody's.
type strays struct {
	mu    sync.Mutex
	asked map[string]bool
	wg    sync.WaitGroup // Run waits
	ctx   context.Context
}

// begin has strays ended until ctx is.
func (s *strays) begin(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.asked = ctx, make(map[string]bool)
}

// wait waits for those under way, once ctx has ended.
func (s *strays) wait() {
	s.mu.Lock()
	s.mu.Unlock() //nolint:staticcheck // who comes behind us sees that ctx has ended
	s.wg.Wait()
}

// Stray implements authz.Strays: the NAS is asked at once, from here, since it has just
// been heard here. Nothing of it stands in the store, which has no such session.
func (f *Follower) Stray(rec session.Record, detail string) {
	s := &f.strays
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil || s.asked[rec.ID] || len(s.asked) >= maxStrays {
		return
	}
	s.asked[rec.ID] = true
	s.wg.Go(func() {
		f.dismissStray(s.ctx, rec, detail)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asked, rec.ID)
	})
}

func (f *Follower) dismissStray(ctx context.Context, rec session.Record, detail string) {
	ctx, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	asked := time.Now()
	answer, err := f.cfg.NAS.Disconnect(ctx, rec, f.cfg.Judge.Parting(authz.WrittenOff))
	log := f.log.With("session", rec.ID, "user", rec.User, "detail", detail, "answer", answer.String())
	switch answer {
	case authz.NASDone, authz.NASRefused:
		f.m.ended.WithLabelValues(answer.String()).Inc()
		f.cfg.Audit.SessionEnded(&authz.Ended{
			Time: time.Now(), Session: rec, Reason: authz.WrittenOff.String(), Detail: detail, Answer: answer, Asked: asked, Err: err,
		})
		log.Warn("session that was written off is alive, and told to end", "error", err)
	case authz.NASNotFound: // it ended meanwhile: the report was a late one
	case authz.NASNoWay, authz.NASNoAnswer, authz.NASUnknown:
		log.Warn("session that was written off is alive, and not reached", "error", err)
	}
}
