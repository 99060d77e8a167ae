package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errSilent = Away(errors.New("silent"))

// ask makes one request at which the servers named are silent, and returns who was
// asked.
func ask(t *testing.T, g *Group, dead ...string) ([]string, error) {
	t.Helper()
	var asked []string
	err := g.Do(t.Context(), func(_ context.Context, server string) error {
		asked = append(asked, server)
		if slices.Contains(dead, server) {
			return errSilent
		}
		return nil
	})
	return asked, err
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestFirstAnswerCounts(t *testing.T) {
	g := New(Config{Servers: []string{"a", "b", "a"}})
	asked, err := ask(t, g)
	if err != nil {
		t.Error(err)
	}
	expect(t, asked, "a")

	// A no is an answer.
	no := errors.New("no")
	n := 0
	if err := g.Do(t.Context(), func(context.Context, string) error { n++; return no }); !errors.Is(err, no) || n != 1 {
		t.Errorf("%v after %d servers", err, n)
	}
	asked, _ = ask(t, g, "a")
	expect(t, asked, "a", "b")
}

func TestNoAnswer(t *testing.T) {
	g := New(Config{Name: "lab", Servers: []string{"a", "b"}})
	asked, err := ask(t, g, "a", "b")
	expect(t, asked, "a", "b")
	var none *NoAnswer
	if !errors.As(err, &none) || !IsAway(err) || !errors.Is(err, errSilent) {
		t.Fatalf("%#v", err)
	}
	if got, want := err.Error(), "lab: no server answers: a: silent; b: silent"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := ask(t, New(Config{Name: "empty"})); !IsAway(err) || !strings.Contains(err.Error(), "no server is known") {
		t.Errorf("without servers: %v", err)
	}
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		g := New(Config{
			Servers: []string{"a", "b"}, Failures: 2, Pause: 10 * time.Second, MaxPause: 30 * time.Second,
			OnChange: func(server string, up bool) { changes = append(changes, fmt.Sprint(server, up)) },
		})
		step := func(dead []string, want ...string) {
			t.Helper()
			asked, _ := ask(t, g, dead...)
			expect(t, asked, want...)
		}
		a := []string{"a"}
		step(a, "a", "b")
		step(nil, "a") // an answer ends the row
		step(a, "a", "b")
		step(a, "a", "b")
		step(a, "b") // open
		if s := g.Status()[0]; s.State != PassedOver || s.Failures != 2 || s.Failed != 3 || s.Asked != 4 || s.Last == nil {
			t.Errorf("%+v", s)
		}
		time.Sleep(10*time.Second - 1)
		step(a, "b")
		time.Sleep(time.Nanosecond)
		if s := g.Status()[0]; s.State != OnProbation {
			t.Errorf("%+v", s)
		}
		step(a, "a", "b") // probe; open for 20 s
		time.Sleep(20*time.Second - 1)
		step(a, "b")
		time.Sleep(time.Nanosecond)
		step(a, "a", "b") // 30 s, the longest
		time.Sleep(30*time.Second - 1)
		step(a, "b")
		time.Sleep(time.Nanosecond)
		step(a, "a", "b")
		time.Sleep(30 * time.Second)
		step(nil, "a") // lives again
		step(nil, "a")
		if s := g.Status()[0]; s.State != Up || s.Failures != 0 || s.Until != (time.Time{}) {
			t.Errorf("%+v", s)
		}
		// The next outage begins with the short pause.
		step(a, "a", "b")
		step(a, "a", "b")
		time.Sleep(10 * time.Second)
		step(nil, "a")
		if want := []string{"afalse", "atrue", "afalse", "atrue"}; !slices.Equal(changes, want) {
			t.Errorf("changes %q, want %q", changes, want)
		}
	})
}

// With every server passed over, all are asked; the first to answer counts as up.
func TestLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Servers: []string{"a", "b"}, Failures: 1, Pause: time.Minute})
		asked, _ := ask(t, g, "a", "b")
		expect(t, asked, "a", "b")
		asked, _ = ask(t, g, "a", "b")
		expect(t, asked, "a", "b")
		asked, err := ask(t, g, "a")
		expect(t, asked, "a", "b")
		if err != nil {
			t.Error(err)
		}
		asked, _ = ask(t, g, "a")
		expect(t, asked, "b")
		// What failed as a last resort did not make the pause longer.
		time.Sleep(time.Minute)
		asked, _ = ask(t, g)
		expect(t, asked, "a")
	})
}

// After the pause one request finds out; the others are not its victims.
func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Servers: []string{"a", "b"}, Failures: 1, Pause: time.Second, Attempt: 5 * time.Second})
		ask(t, g, "a")
		time.Sleep(time.Second)
		var atA, atB atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := g.Do(t.Context(), func(ctx context.Context, server string) error {
					if server == "b" {
						atB.Add(1)
						return nil
					}
					atA.Add(1)
					<-ctx.Done()
					return Away(ctx.Err())
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if atA.Load() != 1 || atB.Load() != 9 {
			t.Errorf("%d probes, %d elsewhere", atA.Load(), atB.Load())
		}
		wg.Wait()
		if atB.Load() != 10 {
			t.Errorf("the probe's request was lost")
		}
	})
}

// A panic must not leave the server on probation for ever.
func TestProbePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Servers: []string{"a"}, Failures: 1, Pause: time.Second})
		ask(t, g, "a")
		time.Sleep(time.Second)
		func() {
			defer func() { _ = recover() }()
			_ = g.Do(t.Context(), func(context.Context, string) error { panic("f") })
		}()
		if s := g.Status()[0]; s.State != OnProbation || s.Failures != 1 {
			t.Errorf("%+v", s)
		}
		ask(t, g)
		if s := g.Status()[0]; s.State != Up {
			t.Errorf("%+v", s)
		}
	})
}

// A frozen server costs its share of the time, not all of it.
func TestTimeIsShared(t *testing.T) {
	frozen := func(ctx context.Context) error { <-ctx.Done(); return Away(ctx.Err()) }
	for _, c := range []struct {
		attempt, all, first, second time.Duration
		dead                        string
	}{
		{3 * time.Second, 10 * time.Second, 3 * time.Second, 0, "a"},
		{3 * time.Second, 4 * time.Second, 2 * time.Second, 0, "a"},
		{3 * time.Second, 4 * time.Second, 2 * time.Second, 2 * time.Second, "ab"},
		{3 * time.Second, 10 * time.Second, 3 * time.Second, 3 * time.Second, "ab"},
		{3 * time.Second, 0, 3 * time.Second, 3 * time.Second, "ab"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := New(Config{Servers: []string{"a", "b"}, Attempt: c.attempt})
			ctx, cancel := context.WithCancel(t.Context())
			if c.all > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), c.all)
			}
			defer cancel()
			took := map[string]time.Duration{}
			err := g.Do(ctx, func(ctx context.Context, server string) error {
				defer func(t0 time.Time) { took[server] = time.Since(t0) }(time.Now())
				if strings.Contains(c.dead, server) {
					return frozen(ctx)
				}
				return nil
			})
			if took["a"] != c.first || took["b"] != c.second || IsAway(err) != (c.dead == "ab") {
				t.Errorf("%+v: %v, %v", c, took, err)
			}
		})
	}
}

func TestCallerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Servers: []string{"a", "b"}, Failures: 1})
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := g.Do(ctx, func(ctx context.Context, _ string) error { n++; cancel(); <-ctx.Done(); return Away(ctx.Err()) })
		if n != 1 || !errors.Is(err, context.Canceled) || !IsAway(err) {
			t.Errorf("%d servers asked: %v", n, err)
		}
		if s := g.Status()[0]; s.Failures != 0 || s.State != Up {
			t.Errorf("the server was blamed: %+v", s)
		}
		// A deadline that the server let pass is its fault.
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = g.Do(late, func(ctx context.Context, _ string) error { <-ctx.Done(); return Away(ctx.Err()) })
		if s := g.Status()[0]; s.State != PassedOver {
			t.Errorf("%+v", s)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Do(over, func(context.Context, string) error { t.Error("asked"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Failures of requests that ran side by side are one opening, not several.
func TestFailuresSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		g := New(Config{
			Servers: []string{"a"}, Failures: 3, Pause: 10 * time.Second, Attempt: time.Second,
			OnChange: func(string, bool) { opened.Add(1) },
		})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_ = g.Do(t.Context(), func(ctx context.Context, _ string) error { <-ctx.Done(); return errSilent })
			})
		}
		wg.Wait()
		s := g.Status()[0]
		if opened.Load() != 1 || time.Until(s.Until) != 10*time.Second || s.Failed != 50 {
			t.Errorf("opened %d times, %+v", opened.Load(), s)
		}
	})
}

func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		g := New(Config{Name: "lab", Servers: []string{"a"}, Failures: 1, Log: log})
		ask(t, g, "a")
		ask(t, g, "a")
		time.Sleep(7 * time.Second)
		ask(t, g)
		ask(t, g)
		want := "level=WARN msg=\"server is passed over\" group=lab server=a reason=silent\n" +
			"level=INFO msg=\"server answers again\" group=lab server=a after=7s\n"
		if b.String() != want {
			t.Errorf("%s\nwant\n%s", b.String(), want)
		}
	})
}

func BenchmarkDo(b *testing.B) {
	g := New(Config{Servers: []string{"a", "b"}})
	f := func(context.Context, string) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Do(b.Context(), f); err != nil {
			b.Fatal(err)
		}
	}
}
