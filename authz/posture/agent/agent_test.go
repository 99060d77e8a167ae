package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/authz/ticket"
	"postern/internal/report"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

var (
	ctx  = context.Background()
	here = Origin{Addr: netip.MustParseAddr("198.51.100.7")}
)

// records keeps what was put, and can be away.
type records struct {
	mu      sync.Mutex
	all     []posture.Record
	removed []string
	err     error
}

func (r *records) Put(_ context.Context, recs ...posture.Record) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.all = append(r.all, recs...)
	}
	return nil, r.err
}

func (r *records) Remove(_ context.Context, device string, source ...string) error {
	r.removed = append(r.removed, device+"/"+strings.Join(source, ","))
	return r.err
}

func newDesk(t testing.TB, b store.Store, to Records) *Desk {
	t.Helper()
	ring, err := seal.ParseRing([]byte("a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	return New(b, ring, to)
}

// machine is a device: its key, and what it would report next.
type machine struct {
	t   testing.TB
	b   store.Store
	key ed25519.PrivateKey
	id  string
	seq int64
}

func newMachine(t testing.TB, b store.Store) *machine {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &machine{t: t, b: b, key: key}
}

// enrol enrols a machine of a user's.
func enrol(t testing.TB, d *Desk, b store.Store, user, device string) *machine {
	t.Helper()
	k, err := d.NewTicket(ctx, user, device, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, b)
	out, err := d.Enrol(ctx, report.Enrol(k.Code, "LT-0231", m.key).Append(nil), here)
	if err != nil || out.Refused != report.Taken || out.User != user {
		t.Fatalf("%+v, %v", out, err)
	}
	m.id = out.Device
	return m
}

func (m *machine) now() time.Time {
	m.t.Helper()
	clock := &store.Time{}
	if err := m.b.Do(ctx, store.Seq{clock}); err != nil {
		m.t.Fatal(err)
	}
	return clock.Now
}

// next is the machine's next report, changed.
func (m *machine) next(edit ...func(*report.Report)) []byte {
	m.t.Helper()
	m.seq++
	r := &report.Report{
		V: report.Version, Device: m.id, Time: m.now().UTC().Truncate(time.Second), Seq: m.seq,
		Facts: report.Facts{OS: "linux", OSVersion: "12.5", Encrypted: report.Yes, Firewall: report.No},
	}
	_, _ = rand.Read(r.Nonce[:])
	for _, f := range edit {
		f(r)
	}
	e, err := report.Seal(r, m.key)
	if err != nil {
		m.t.Fatal(err)
	}
	return e.Append(nil)
}

func (m *machine) want(d *Desk, body []byte, want report.Refusal) Outcome {
	m.t.Helper()
	out, err := d.Report(ctx, body, here)
	if err != nil || out.Refused != want {
		m.t.Errorf("%v (%s), %v, want %v", out.Refused, out.Detail, err, want)
	}
	return out
}

func TestReport(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		to := &records{}
		d := newDesk(t, b, to)
		m := enrol(t, d, b, "alice@corp.example", "")
		if !strings.HasPrefix(m.id, "LT-0231-") || len(m.id) != len("LT-0231-")+suffixLen {
			t.Errorf("called %s", m.id)
		}
		now := m.now()
		out := m.want(d, m.next(func(r *report.Report) {
			r.Facts.Patched = r.Time.Add(-48 * time.Hour)
			r.Facts.Booted = r.Time.Add(time.Hour) // a clock that was wrong at the start
			r.Time = r.Time.Add(time.Minute)       // ahead of ours
		}), report.Taken)
		if out.Device != m.id || out.User != "alice@corp.example" || out.Reply().Device != m.id || out.Reply().Refused != report.Taken {
			t.Errorf("%+v", out)
		}
		if len(to.all) != 1 {
			t.Fatalf("%d records", len(to.all))
		}
		rec := to.all[0]
		if rec.Device != m.id || rec.Name != "LT-0231" || rec.Source != Source || rec.Confidence != policy.Attested ||
			len(rec.Owners) != 1 || rec.Owners[0] != "alice@corp.example" || rec.From != here.Addr ||
			rec.At.After(rec.Got) || rec.Got.Sub(now).Abs() > 10*time.Second {
			t.Errorf("%+v", rec)
		}
		f := rec.Facts
		if f.OS != "linux" || f.OSVersion != "12.5" || f.Encrypted != policy.Yes || f.Firewall != policy.No || f.Lock != policy.Unknown ||
			f.Managed != policy.Unknown || f.Patched.IsZero() || !f.Booted.IsZero() {
			t.Errorf("%+v", f)
		}
		// Behind the tunnel an address says nothing of where the device is.
		if _, err := d.Report(ctx, m.next(), Origin{here.Addr, true}); err != nil || to.all[1].From.IsValid() {
			t.Errorf("%+v, %v", to.all[1], err)
		}
		if all, err := d.Devices(ctx, "alice@corp.example"); err != nil || len(all) != 1 || all[0].ID != m.id || all[0].Seen.IsZero() || all[0].From != here.Addr {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// Everything that must not be taken, and why it was not.
func TestReportsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		to := &records{}
		one, two := newDesk(t, b, to), newDesk(t, b, to) // two services on one store
		m, other := enrol(t, one, b, "alice", ""), enrol(t, one, b, "bob", "")

		good := m.next()
		m.want(one, good, report.Taken)
		m.want(one, good, report.Replayed)
		m.want(two, good, report.Replayed)

		late := m.next()
		m.want(two, m.next(), report.Taken)
		m.want(one, late, report.Order)
		m.want(one, m.next(func(r *report.Report) { r.Seq = 1 }), report.Order)

		for _, off := range []time.Duration{-clockWindow - 5*time.Second, clockWindow + 5*time.Second, -time.Hour} {
			m.want(one, m.next(func(r *report.Report) { r.Time = r.Time.Add(off) }), report.Clock)
		}
		for _, off := range []time.Duration{-clockWindow + 10*time.Second, clockWindow - 10*time.Second} {
			m.want(one, m.next(func(r *report.Report) { r.Time = r.Time.Add(off) }), report.Taken)
		}

		// Another device's name, with one's own key and with its.
		m.want(one, m.next(func(r *report.Report) { r.Device = other.id }), report.UnknownKey)
		forged, err := report.ParseEnvelope(m.next(func(r *report.Report) { r.Device = other.id }))
		if err != nil {
			t.Fatal(err)
		}
		forged.Key = report.KeyID(other.key.Public().(ed25519.PublicKey))
		if out := m.want(one, forged.Append(nil), report.Signature); out.Reply().Refused != report.UnknownKey || out.Reply().Device != "" {
			t.Errorf("told %+v", out.Reply())
		}
		m.want(one, m.next(func(r *report.Report) { r.Device = "nobody" }), report.UnknownKey)

		// What is no report costs nothing but a count.
		for _, body := range []string{"", "{}", "null", `{"report":"e30=","signature":"","key":""}`, string(good) + " ", strings.Repeat("{", report.MaxRequest+1)} {
			m.want(one, []byte(body), report.Malformed)
		}
		e, _ := report.ParseEnvelope(m.next())
		e.Report = append(e.Report[:len(e.Report)-1], []byte(`,"x":1}`)...)
		m.want(one, e.Append(nil), report.Malformed)
		e.Report = []byte(`{"v":2,"device":[]}`)
		m.want(one, e.Append(nil), report.Unsupported)

		// A report that the records did not take may come again, as a new one.
		to.err = errors.New("away")
		if out, err := one.Report(ctx, m.next(), here); err == nil {
			t.Errorf("%+v", out)
		}
		to.err = nil
		before := len(to.all)
		m.want(one, m.next(), report.Taken)

		x, err := two.Revoke(ctx, strings.ToUpper(m.id), "")
		if err != nil || x.ID != m.id || len(to.removed) != 1 || to.removed[0] != m.id+"/"+Source {
			t.Errorf("%+v, %v, removed %v", x, err, to.removed)
		}
		m.want(one, m.next(), report.Revoked)
		if _, err := one.Revoke(ctx, m.id, ""); !errors.Is(err, ErrNoDevice) {
			t.Errorf("revoked twice: %v", err)
		}
		if _, err := one.Revoke(ctx, other.id, "alice"); !errors.Is(err, ErrNoDevice) {
			t.Errorf("another user's revoked: %v", err)
		}
		if all, err := one.Devices(ctx, "alice"); err != nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		other.want(one, other.next(), report.Taken)
		if len(to.all) != before+2 {
			t.Errorf("%d records, want %d", len(to.all), before+2)
		}
	})
}

// One report that is sent to two services at once is taken once.
func TestOneReportOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		desks := []*Desk{newDesk(t, b, &records{}), newDesk(t, b, &records{})}
		m := enrol(t, desks[0], b, "alice", "")
		body := m.next()
		var taken, replayed atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				out, err := desks[i%2].Report(ctx, body, here)
				switch {
				case err != nil:
					t.Error(err)
				case out.Refused == report.Taken:
					taken.Add(1)
				case out.Refused == report.Replayed:
					replayed.Add(1)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 || replayed.Load() != 19 {
			t.Errorf("taken %d times, %d replays", taken.Load(), replayed.Load())
		}
	})
}

func TestRates(t *testing.T) {
	b := storetest.Embedded(t)
	d := newDesk(t, b, &records{})
	m, other := enrol(t, d, b, "alice", ""), enrol(t, d, b, "bob", "")
	b.Sleep(window + time.Second)
	replay := m.next()
	for i := range perDevice {
		if i == 0 {
			m.want(d, replay, report.Taken)
			continue
		}
		m.want(d, m.next(), report.Taken)
	}
	m.want(d, m.next(), report.Rate)
	m.want(d, replay, report.Replayed)
	other.want(d, other.next(), report.Taken) // its limit is its own
	for range perSource {
		_, _ = d.Report(ctx, []byte("{}"), here)
	}
	other.want(d, other.next(), report.Rate)
	if out, err := d.Enrol(ctx, report.Enrol("X", "y", m.key).Append(nil), here); err != nil || out.Refused != report.Rate {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := d.Report(ctx, other.next(), Origin{Addr: netip.MustParseAddr("198.51.100.8")}); err != nil || out.Refused != report.Taken {
		t.Errorf("from elsewhere: %+v, %v", out, err)
	}
	b.Sleep(window + time.Second)
	m.want(d, m.next(), report.Taken)
}

func TestEnrol(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		to := &records{}
		d := newDesk(t, b, to)
		m := newMachine(t, b)
		ask := func(e *report.Enrolment, want report.Refusal) Outcome {
			t.Helper()
			out, err := d.Enrol(ctx, e.Append(nil), here)
			if err != nil || out.Refused != want {
				t.Errorf("%+v, %v, want %v", out, err, want)
			}
			return out
		}
		ask(report.Enrol("AAAA-AAAA", "pc", m.key), report.Ticket)
		ask(report.Enrol("AAAA-AAAA", "", m.key), report.Malformed)
		k, err := d.NewTicket(ctx, "alice", "LT-0231", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		stolen := report.Enrol(k.Code, "pc", m.key)
		stolen.Key = newMachine(t, b).key.Public().(ed25519.PublicKey)
		ask(stolen, report.Proof) // and the ticket is still good
		if out := ask(report.Enrol(k.Code, "pc", m.key), report.Taken); out.Device != "LT-0231" || out.User != "alice" {
			t.Errorf("%+v", out)
		}
		ask(report.Enrol(k.Code, "pc", m.key), report.Ticket)
		m.id = "lt-0231" // IDs fold case
		if out := m.want(d, m.next(), report.Taken); out.Device != "LT-0231" {
			t.Errorf("%+v", out)
		}
		// An operator gives the device to somebody else, with a new key.
		n := enrol(t, d, b, "bob", "LT-0231")
		m.want(d, m.next(), report.UnknownKey)
		n.seq = m.seq
		n.want(d, n.next(), report.Taken)
		if rec := to.all[len(to.all)-1]; rec.Owners[0] != "bob" {
			t.Errorf("%+v", rec)
		}
		for user, want := range map[string]int{"alice": 0, "bob": 1} {
			if all, err := d.Devices(ctx, user); err != nil || len(all) != want {
				t.Errorf("%s has %+v, %v", user, all, err)
			}
		}
		if _, err := d.NewTicket(ctx, "alice", "{x}", time.Hour); err == nil {
			t.Error("a ticket for {x}")
		}
		for range MaxDevices {
			enrol(t, d, b, "carol", "")
		}
		k, err = d.NewTicket(ctx, "carol", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		ask(report.Enrol(k.Code, "pc", m.key), report.Full)
		all, err := d.Devices(ctx, "carol")
		if err != nil || len(all) != MaxDevices {
			t.Fatalf("%d devices, %v", len(all), err)
		}
		if _, err := d.Revoke(ctx, all[0].ID, "carol"); err != nil {
			t.Fatal(err)
		}
		enrol(t, d, b, "carol", "")
	})
}

func TestTickets(t *testing.T) {
	b := storetest.Embedded(t)
	d := newDesk(t, b, &records{})
	k, err := d.NewTicket(ctx, "alice", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := d.Tickets(ctx, "alice"); err != nil || len(list) != 1 || list[0].ID != k.ID {
		t.Errorf("%v, %v", list, err)
	}
	if err := d.RevokeTicket(ctx, "alice", k.ID); err != nil {
		t.Error(err)
	}
	if err := d.RevokeTicket(ctx, "alice", k.ID); !errors.Is(err, ErrTicket) {
		t.Error(err)
	}
	for range ticket.Max {
		if _, err := d.NewTicket(ctx, "alice", "", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.NewTicket(ctx, "alice", "", time.Hour); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	b.Sleep(time.Hour + time.Second)
	k, err = d.NewTicket(ctx, "alice", "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.Sleep(time.Minute + time.Second)
	if out, err := d.Enrol(ctx, report.Enrol(k.Code, "pc", newMachine(t, b).key).Append(nil), here); err != nil || out.Refused != report.Ticket {
		t.Errorf("a ticket after its time: %+v, %v", out, err)
	}
}

// Whether there is a device takes the same work to say no: one trip, one signature.
func TestUnknownDevicesCostTheSame(t *testing.T) {
	b := &counting{Store: storetest.Embedded(t)}
	d := newDesk(t, b, &records{})
	m := enrol(t, d, b, "alice", "")
	stranger := newMachine(t, b)
	stranger.id, stranger.seq = m.id, 100
	unknown := newMachine(t, b)
	unknown.id = "nobody"
	var trips []string
	for _, x := range []*machine{stranger, unknown} {
		body := x.next()
		b.n = 0
		out, err := d.Report(ctx, body, here)
		if err != nil || out.Reply().Refused != report.UnknownKey {
			t.Fatalf("%+v, %v", out, err)
		}
		trips = append(trips, fmt.Sprint(b.n, out.Reply().Refused))
	}
	if trips[0] != trips[1] || b.n != 1 {
		t.Errorf("%v", trips)
	}
}

type counting struct {
	store.Store
	n int
}

func (c *counting) Do(ctx context.Context, seqs ...store.Seq) error {
	c.n++
	return c.Store.Do(ctx, seqs...)
}

func TestStoreAway(t *testing.T) {
	b := storetest.Embedded(t)
	d := newDesk(t, b, &records{})
	m := enrol(t, d, b, "alice", "")
	body := m.next()
	b.Close()
	if out, err := d.Report(ctx, body, here); err == nil {
		t.Errorf("%+v", out)
	}
	if out, err := d.Enrol(ctx, report.Enrol("X", "y", m.key).Append(nil), here); err == nil {
		t.Errorf("%+v", out)
	}
	if _, err := d.Revoke(ctx, m.id, ""); err == nil {
		t.Error("revoked")
	}
}
