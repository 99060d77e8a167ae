package follow

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz"
	"postern/authz/session"
)

// A session that was written off and reports all the same is ended by its NAS: once, and
// with a line in the audit log. One that has ended meanwhile is not worth one.
func TestStrays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.end()
		f, stop := s.service(0, nil)
		stray := func(acct string) {
			f.Stray(session.Record{ID: session.ID("gw1", acct), Node: "gw1", Acct: acct, Via: "gateway", User: "alice@corp"}, "it reports")
		}
		synctest.Wait()
		for range 3 {
			stray("a1")
		}
		time.Sleep(time.Second)
		s.mu.Lock()
		if len(s.asked) != 1 || s.texts["a1"] != "bye: written off" || len(s.audit) != 1 || s.audit[0].Reason != "written off" || s.audit[0].Detail != "it reports" {
			t.Errorf("asked %q, %q, audit %+v", s.asked, s.texts, s.audit)
		}
		s.mu.Unlock()
		s.answers(func(string) authz.NASAnswer { return authz.NASNotFound })
		stray("a2")
		time.Sleep(time.Second)
		s.mu.Lock()
		if len(s.asked) != 2 || len(s.audit) != 1 {
			t.Errorf("asked %q, audit %+v", s.asked, s.audit)
		}
		s.slow = time.Minute
		s.mu.Unlock()
		for i := range 2 * maxStrays {
			stray(fmt.Sprint("b", i))
		}
		synctest.Wait()
		if n := s.count(); n != 2+maxStrays {
			t.Errorf("%d were asked for at once", n)
		}
		stop() // which waits for them
		stray("late")
		if n := s.count(); n != 2+maxStrays || s.busy != 0 {
			t.Errorf("%d were asked for, %d are still", n, s.busy)
		}
	})
}
