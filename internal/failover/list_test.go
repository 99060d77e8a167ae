package failover

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// finder is a Discover under a test's control.
type finder struct {
	mu    sync.Mutex
	names []string
	err   error
	takes time.Duration
	calls int
}

func (f *finder) set(err error, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names, f.err = names, err
}

func (f *finder) find(ctx context.Context) ([]string, error) {
	f.mu.Lock()
	f.calls++
	takes := f.takes
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names, f.err
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{names: []string{"a", "b"}, takes: time.Second}
		g := New(Config{Discover: f.find, Refresh: time.Minute, Failures: 1, Pause: time.Hour})
		defer g.Close()

		// The first requests wait for one discovery.
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				asked, _ := ask(t, g)
				expect(t, asked, "a")
			})
		}
		wg.Wait()
		if f.calls != 1 {
			t.Errorf("%d discoveries", f.calls)
		}
		ask(t, g, "a")

		// A refresh runs beside the requests, and what is known of a server stays.
		f.set(nil, "c", "a")
		time.Sleep(time.Minute)
		t0 := time.Now()
		asked, _ := ask(t, g)
		expect(t, asked, "b")
		if time.Since(t0) != 0 {
			t.Errorf("a request waited %v for a refresh", time.Since(t0))
		}
		time.Sleep(2 * time.Second)
		asked, _ = ask(t, g, "c")
		expect(t, asked, "c", "a") // a is still passed over, but the last
		if s := g.Status(); len(s) != 2 || s[1].Server != "a" || s[1].Failed != 1 {
			t.Errorf("%+v", s)
		}

		// A failed refresh leaves the list as it is.
		f.set(errors.New("no DNS"))
		time.Sleep(time.Minute)
		ask(t, g)
		time.Sleep(2 * time.Second)
		if s := g.Status(); len(s) != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDiscoveryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{err: errors.New("no DNS"), takes: time.Second}
		g := New(Config{Name: "lab", Discover: f.find, Pause: 5 * time.Second})
		defer g.Close()
		if _, err := ask(t, g); !IsAway(err) || err.Error() != "lab: no server answers: discover servers: no DNS" {
			t.Error(err)
		}
		// The next does not wait for the same again.
		t0 := time.Now()
		if _, err := ask(t, g); !IsAway(err) || time.Since(t0) != 0 || f.calls != 1 {
			t.Errorf("%v after %v and %d discoveries", err, time.Since(t0), f.calls)
		}
		time.Sleep(5 * time.Second)
		f.set(nil, "a")
		asked, err := ask(t, g)
		if err != nil {
			t.Error(err)
		}
		expect(t, asked, "a")

		// None at all is a failure too.
		f = &finder{}
		g = New(Config{Discover: f.find})
		if _, err := ask(t, g); !IsAway(err) {
			t.Error(err)
		}
		g.Close()
	})
}

func TestConfiguredServersStandIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{err: errors.New("no DNS"), takes: time.Second}
		g := New(Config{Servers: []string{"z"}, Discover: f.find, Pause: 5 * time.Second})
		defer g.Close()
		asked, err := ask(t, g)
		if err != nil {
			t.Error(err)
		}
		expect(t, asked, "z")
		f.set(nil, "a")
		time.Sleep(5 * time.Second)
		asked, _ = ask(t, g) // not kept waiting by the second try
		expect(t, asked, "z")
		time.Sleep(time.Second)
		synctest.Wait()
		asked, _ = ask(t, g)
		expect(t, asked, "a")
	})
}

func TestDiscoveryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &finder{takes: time.Hour}
		g := New(Config{Discover: f.find})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := g.Do(ctx, func(context.Context, string) error { return nil })
		if !IsAway(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		t0 := time.Now()
		if _, err := ask(t, g); !IsAway(err) || time.Since(t0) != discoverTime-2*time.Second {
			t.Errorf("%v after %v", err, time.Since(t0))
		}
		time.Sleep(DefaultPause)
		go func() { time.Sleep(time.Second); g.Close() }()
		t0 = time.Now()
		if _, err := ask(t, g); !IsAway(err) || time.Since(t0) != time.Second {
			t.Errorf("%v after %v", err, time.Since(t0))
		}
		if _, err := ask(t, g); !IsAway(err) { // closed: nothing new is found
			t.Error(err)
		}
	})
}
