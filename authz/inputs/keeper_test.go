package inputs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"postern/internal/seal"
	"postern/policy"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// permitted is a login that rule staff let in.
func permitted(id string, at time.Time) *Record {
	return &Record{
		Decision: id, At: at, Kind: Login, Verdict: "accept", Reason: "permitted", Factor: "code", Asked: true, Outcome: policy.Permit,
		Rule: "staff", Policy: "0123456789abcdef", Terms: []policy.Term{{Key: "factor", Value: "code"}, {Key: "pool", Value: "staff"}},
		Facts: policy.Facts{
			User: "alice", Groups: []string{"VPN-Users"}, Source: netip.MustParseAddr("192.0.2.5"), NAS: "gw1", ClientName: "LT-0231",
			Device: policy.Device{ID: "LT-0231", Name: "lt-0231"},
		},
		Provenance: Provenance{SID: "S-1-5-21-1-2-3-1104"},
	}
}

func keeper(t *testing.T, c Config) *Keeper {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "inputs")
	}
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Clock == nil {
		c.Clock = func() time.Time { return noon }
	}
	k, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// count reads a counter.
func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// all reads what directories hold.
func all(t *testing.T, since, until time.Time, dirs ...string) (records []Record, damaged int) {
	t.Helper()
	r, err := Open(since, until, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, *rec)
	}
	if done, total := r.Progress(); done != total {
		t.Errorf("%d of %d octets read", done, total)
	}
	return records, r.Damaged()
}

func ids(records []Record) string {
	var list []string
	for i := range records {
		list = append(list, records[i].Decision)
	}
	return strings.Join(list, " ")
}

// What was written is read again, each day from its file, with what its rule obliges to;
// the files are nobody else's.
func TestKeepAndRead(t *testing.T) {
	k := keeper(t, Config{})
	k.Start()
	var want []Record
	for i := range 300 {
		r := permitted(fmt.Sprint("D", i), noon.Add(time.Duration(i)*10*time.Minute))
		if i%7 == 0 {
			r = &Record{Decision: r.Decision, At: r.At, Kind: Login, Verdict: "reject", Reason: "wrong password"}
		}
		want = append(want, *r)
		k.Write(r)
	}
	k.Stop()
	got, damaged := all(t, time.Time{}, time.Time{}, k.cfg.Dir)
	if damaged != 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d damaged; got %d of %d records", damaged, len(got), len(want))
	}
	if n := count(t, k.written); n != 300 {
		t.Errorf("%v counted", n)
	}
	days, err := daysOf(k.cfg.Dir)
	if err != nil || len(days) != 3 {
		t.Fatalf("%v, %v", days, err)
	}
	for _, path := range []string{k.cfg.Dir, days[0].path} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	// The terms are there once a file, and not once a record.
	text, err := os.ReadFile(days[0].path)
	if n := bytes.Count(text, []byte("pool")); err != nil || n != 1 {
		t.Errorf("%d times, %v", n, err)
	}
	// A part of the time.
	some, _ := all(t, want[100].At, want[110].At, k.cfg.Dir)
	if !reflect.DeepEqual(some, want[100:110]) {
		t.Errorf("got %s", ids(some))
	}
}

// A service that starts again goes on in the same file.
func TestStartAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "inputs")
	for _, id := range []string{"A", "B"} {
		k := keeper(t, Config{Dir: dir})
		k.Start()
		k.Write(permitted(id, noon))
		k.Stop()
	}
	got, _ := all(t, time.Time{}, time.Time{}, dir)
	if ids(got) != "A B" || got[1].Terms == nil {
		t.Errorf("%+v", got)
	}
}

// The disk sees a record within a second, without a Stop.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t, Config{Clock: time.Now})
		k.Start()
		defer k.Stop()
		k.Write(permitted("A", noon))
		time.Sleep(flushEvery + time.Millisecond)
		synctest.Wait()
		if got, _ := all(t, time.Time{}, time.Time{}, k.cfg.Dir); ids(got) != "A" {
			t.Errorf("%+v", got)
		}
	})
}

// Nobody waits when the queue is full; what does not fit is counted, and told once.
func TestQueueIsFull(t *testing.T) {
	var log bytes.Buffer
	k := keeper(t, Config{Queue: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 10 { // nobody writes yet
		k.Write(permitted(fmt.Sprint("D", i), noon))
	}
	if n := count(t, k.lost.WithLabelValues("queue")); n != 6 {
		t.Errorf("%v lost", n)
	}
	if n := strings.Count(log.String(), "are lost"); n != 1 {
		t.Errorf("told %d times", n)
	}
	k.Start()
	k.Stop()
	if got, _ := all(t, time.Time{}, time.Time{}, k.cfg.Dir); ids(got) != "D0 D1 D2 D3" {
		t.Errorf("got %s", ids(got))
	}
	k.Write(permitted("late", noon)) // loses it, and does nothing worse
}

// A full disk costs records, and is told once; when there is room again records are kept
// again, with what their rule obliges to.
func TestDiskIsFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	var log bytes.Buffer
	k := keeper(t, Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	full := filepath.Join(k.cfg.Dir, dayOf(noon)+suffix)
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		k.add(permitted(fmt.Sprint("D", i), noon))
		k.flush()
	}
	if n := count(t, k.lost.WithLabelValues("disk")); n != 3 || strings.Count(log.String(), "no space left") != 1 {
		t.Errorf("%v lost; log:\n%s", n, log.String())
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	k.add(permitted("after", noon))
	k.close()
	got, _ := all(t, time.Time{}, time.Time{}, k.cfg.Dir)
	if ids(got) != "after" || got[0].Terms == nil || !strings.Contains(log.String(), "kept again") {
		t.Errorf("%+v\n%s", got, log.String())
	}
}

// Days that are over for long enough are deleted, and nothing else is.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		k := keeper(t, Config{Keep: 48 * time.Hour, Clock: func() time.Time { return noon.Add(time.Duration(ahead.Load())) }})
		names := []string{"2026-11-19", "2026-11-20", "2026-11-21", "2026-11-23", "2027-01-01"}
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(k.cfg.Dir, n+suffix), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []string{"notes.txt", "2026-11-01.txt", "x" + suffix} {
			if err := os.WriteFile(filepath.Join(k.cfg.Dir, n), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k.Start()
		defer k.Stop()
		synctest.Wait()
		left := func() (days []string) {
			list, err := daysOf(k.cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				days = append(days, dayOf(d.begins))
			}
			return days
		}
		if got := left(); !slices.Equal(got, names[2:]) {
			t.Errorf("left %v", got)
		}
		ahead.Store(int64(13 * time.Hour)) // the 21st is over for 49 h
		time.Sleep(2 * flushEvery)
		synctest.Wait()
		if got := left(); !slices.Equal(got, names[3:]) {
			t.Errorf("left %v", got)
		}
		if entries, err := os.ReadDir(k.cfg.Dir); err != nil || len(entries) != 2+3 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}

// With pseudonyms no name of anybody and no SID is on the disk; the same name has the
// same one, however it is spelt.
func TestPseudonyms(t *testing.T) {
	ring, err := seal.ParseRing([]byte("k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	k := keeper(t, Config{Pseudonyms: true, Ring: ring})
	k.Start()
	k.Write(permitted("A", noon))
	other := permitted("B", noon)
	other.Facts.User, other.Facts.ClientName, other.Facts.Device = "ALICE", "", policy.Device{}
	k.Write(other)
	k.Stop()
	text, err := os.ReadFile(filepath.Join(k.cfg.Dir, dayOf(noon)+suffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"alice", "0231", "S-1-5"} {
		if bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(word))) {
			t.Errorf("%q is on the disk", word)
		}
	}
	got, _ := all(t, time.Time{}, time.Time{}, k.cfg.Dir)
	names, err := NewPseudonyms(ring, "k1")
	if err != nil {
		t.Fatal(err)
	}
	f := &got[0].Facts
	if f.User != names.Name("user", "Alice") || f.User != got[1].Facts.User || f.User == "" || got[0].Key != "k1" {
		t.Errorf("%q, %q", f.User, got[1].Facts.User)
	}
	if f.Device.ID != names.Name("device", "lt-0231") || f.Device.ID != f.Device.Name || f.ClientName == f.Device.Name {
		t.Errorf("%q %q %q", f.Device.ID, f.Device.Name, f.ClientName)
	}
	if d := got[1].Facts; d.ClientName != "" || d.Device.ID != "" {
		t.Errorf("no name became one: %+v", d)
	}
	if names.Name("user", f.User) != f.User {
		t.Error("a pseudonym has another")
	}
	if _, err := NewPseudonyms(ring, "k2"); !errors.Is(err, seal.ErrKey) {
		t.Error(err)
	}
	if _, err := New(Config{Dir: t.TempDir(), Pseudonyms: true}); !errors.Is(err, seal.ErrKey) {
		t.Errorf("without a ring: %v", err)
	}
}

func TestNewErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, open} {
		if _, err := New(Config{Dir: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
		if err := Check(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if err := Check(filepath.Join(dir, "not there yet")); err != nil {
		t.Error(err)
	}
	reg := prometheus.NewRegistry()
	for i, want := range []bool{true, false} {
		if _, err := New(Config{Dir: filepath.Join(dir, "a"), Metrics: reg}); (err == nil) != want {
			t.Errorf("%d: %v", i, err)
		}
	}
}
