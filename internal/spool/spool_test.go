package spool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2866"

	"postern/internal/radius"
)

// clerk is an accounting service that can be away.
type clerk struct {
	mu   sync.Mutex
	away bool
	got  []string
	late []uint32 // Acct-Delay-Time
}

func (c *clerk) Exchange(_ context.Context, p *radius.Packet) (*radius.Packet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away {
		return nil, radius.ErrNoAnswer
	}
	if rfc2866.AcctSessionID_GetString(p) == "large" {
		return nil, radius.ErrValue
	}
	c.got = append(c.got, rfc2866.AcctSessionID_GetString(p)+" "+rfc2866.AcctStatusType_Get(p).String())
	c.late = append(c.late, uint32(rfc2866.AcctDelayTime_Get(p)))
	return &radius.Packet{Code: radius.CodeAccountingResponse}, nil
}

const acctOff = rfc2866.AcctStatusType_Value_AccountingOff

func acctPacket(t *testing.T, session string, status rfc2866.AcctStatusType) *radius.Packet {
	t.Helper()
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	if err := errors.Join(rfc2866.AcctSessionID_SetString(p, session), rfc2866.AcctStatusType_Set(p, status)); err != nil {
		t.Fatal(err)
	}
	return p
}

func runSpool(t *testing.T, sp *Spool, c *clerk) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { sp.Run(ctx, func() radius.Exchanger { return c }) })
	return func() { cancel(); wg.Wait() }
}

// Records outlive services that are away and the node itself, keep their order, and
// say how old they are. An Interim that was overtaken is not sent.
func TestKeepsUntilAnswered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{away: true}
		var length atomic.Int64
		sp, err := Open(Config{Dir: dir, Max: 100, Log: slog.New(slog.DiscardHandler), Length: &length})
		if err != nil {
			t.Fatal(err)
		}
		stop := runSpool(t, sp, c)
		for _, status := range []rfc2866.AcctStatusType{acctStart, acctInterim, acctInterim, acctStop} {
			sp.Add("s1", status, acctPacket(t, "s1", status), time.Now())
			synctest.Wait()
		}
		time.Sleep(90 * time.Second)
		stop()
		if n := length.Load(); n != 2 { // Start and Stop
			t.Errorf("%d records wait", n)
		}

		// A new process takes over.
		var length2 atomic.Int64
		sp2, err := Open(Config{Dir: dir, Max: 100, Log: slog.New(slog.DiscardHandler), Length: &length2})
		if err != nil || length2.Load() != 2 {
			t.Fatalf("%v, %d records", err, length2.Load())
		}
		sp2.Add("s1", acctOff, acctPacket(t, "s1", acctOff), time.Now())
		stop = runSpool(t, sp2, c)
		time.Sleep(10 * time.Second)
		c.mu.Lock()
		c.away = false
		c.mu.Unlock()
		sp2.Drain(t.Context())
		stop()
		want := []string{"s1 Start", "s1 Stop", "s1 Accounting-Off"}
		if len(c.got) != 3 || c.got[0] != want[0] || c.got[1] != want[1] || c.got[2] != want[2] {
			t.Errorf("sent %q", c.got)
		}
		if len(c.late) == 3 && c.late[0] < 100 {
			t.Errorf("Acct-Delay-Time %d after 100 s", c.late[0])
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
			t.Errorf("left in the spool: %q", left)
		}
	})
}

// Who waits for a record's answer is told of it once, and never of one that is given up.
func TestAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clerk{away: true}
		var length atomic.Int64
		sp, err := Open(Config{Log: slog.New(slog.DiscardHandler), Length: &length})
		if err != nil {
			t.Fatal(err)
		}
		stop := runSpool(t, sp, c)
		defer stop()
		var answered, given atomic.Int64
		sp.AddAnd("s1", acctStop, acctPacket(t, "s1", acctStop), time.Now(), func() {
			if length.Load() != 0 {
				t.Error("told while the record waits")
			}
			answered.Add(1)
		})
		time.Sleep(time.Minute)
		if answered.Load() != 0 {
			t.Error("told before anybody has answered")
		}
		c.mu.Lock()
		c.away = false
		c.mu.Unlock()
		sp.Drain(t.Context())
		sp.AddAnd("large", acctStop, acctPacket(t, "large", acctStop), time.Now(), func() { given.Add(1) })
		time.Sleep(time.Minute)
		if answered.Load() != 1 || given.Load() != 0 {
			t.Errorf("told %d times, and %d times of one that cannot be sent", answered.Load(), given.Load())
		}
	})
}

func TestSetsBrokenFilesAside(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0000000000000001"+suffix), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var length atomic.Int64
	if _, err := Open(Config{Dir: dir, Max: 100, Log: slog.New(slog.DiscardHandler), Length: &length}); err != nil || length.Load() != 0 {
		t.Fatalf("%v, %d records", err, length.Load())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.bad")); len(left) != 1 {
		t.Errorf("kept: %q", left)
	}
}

// A full spool gives up Interims before Starts and Stops.
func TestIsBounded(t *testing.T) {
	var length atomic.Int64
	sp, err := Open(Config{Dir: "", Max: 10, Log: slog.New(slog.DiscardHandler), Length: &length})
	if err != nil {
		t.Fatal(err)
	}
	sp.Add("s", acctStart, acctPacket(t, "s", acctStart), time.Now())
	for range 5 {
		sp.Add("s", acctStop, acctPacket(t, "s", acctStop), time.Now())
	}
	sp.Add("s2", acctInterim, acctPacket(t, "s2", acctInterim), time.Now())
	for range 100 {
		sp.Add("s", acctStop, acctPacket(t, "s", acctStop), time.Now())
	}
	if n := length.Load(); n > 10 {
		t.Errorf("%d records", n)
	}
}

// After services were away Stops go out first, each behind what is left of its session, and
// a full spool gives up Starts before Stops.
func TestSendsStopsFirst(t *testing.T) {
	var l lane
	for _, r := range []record{{Session: "a", Status: acctInterim}, {Session: "b", Status: acctStart}, {Session: "c", Status: acctStart},
		{Session: "b", Status: acctStop}, {Session: "d", Status: acctStop}} {
		l.queue = append(l.queue, &r)
	}
	got := ""
	for r := l.next(); r != nil; r = l.next() {
		got += r.Session + r.Status.String() + " "
		l.queue = l.queue[1:]
	}
	if want := "bStart bStop dStop aInterim-Update cStart "; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}

	var length atomic.Int64
	sp, err := Open(Config{Dir: "", Max: 3, Log: slog.New(slog.DiscardHandler), Length: &length})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []record{{Session: "s", Status: acctStop}, {Session: "s", Status: acctStop}, {Session: "s", Status: acctStart}, {Session: "s", Status: acctStop}} {
		sp.push(&r)
	}
	for i := range sp.lanes {
		for _, r := range sp.lanes[i].queue {
			if r.Status == acctStart {
				t.Error("a Start was kept, and a Stop was not")
			}
		}
	}
	if length.Load() != 3 {
		t.Errorf("%d records", length.Load())
	}
}

// What can never be sent holds nobody up.
func TestUnsendableIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var length, dropped atomic.Int64
		sp, err := Open(Config{Log: slog.New(slog.DiscardHandler), Length: &length, Dropped: func() { dropped.Add(1) }})
		if err != nil {
			t.Fatal(err)
		}
		c := &clerk{}
		sp.Add("s1", acctStart, acctPacket(t, "large", acctStart), time.Now())
		sp.Add("s1", acctStop, acctPacket(t, "s1", acctStop), time.Now())
		stop := runSpool(t, sp, c)
		time.Sleep(time.Minute)
		stop()
		if len(c.got) != 1 || c.got[0] != "s1 Stop" || dropped.Load() != 1 || length.Load() != 0 {
			t.Errorf("sent %q, %d dropped, %d wait", c.got, dropped.Load(), length.Load())
		}
	})
}
