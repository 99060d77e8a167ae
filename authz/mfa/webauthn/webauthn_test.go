package webauthn

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/authz/mfa/webauthn/webauthntest"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

var (
	ctx  = context.Background()
	noon = time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)
)

const (
	lineA = "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	lineB = "b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
	page  = "page" // a scope
)

func ring(t testing.TB, text string) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func service(t testing.TB, s store.Store) *Verifier {
	t.Helper()
	v, err := New(s, ring(t, lineA), Config{URL: "https://vpn.corp.example/", Name: "Corp VPN"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func register(t testing.TB, v *Verifier, user string, d *webauthntest.Device) Key {
	t.Helper()
	c, err := v.BeginRegistration(ctx, noon, user, page)
	if err != nil {
		t.Fatal(err)
	}
	k, err := v.FinishRegistration(ctx, noon, user, page, c.Sealed, "phone", d.Create(t, c.Options))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func begin(t testing.TB, v *Verifier, user string) *Ceremony {
	t.Helper()
	c, err := v.BeginAssertion(ctx, noon, user, page)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func assert(t testing.TB, v *Verifier, user string, d *webauthntest.Device) error {
	t.Helper()
	c := begin(t, v, user)
	_, err := v.FinishAssertion(ctx, noon, user, page, c.Sealed, d.Get(t, c.Options))
	return err
}

// What one service began another finishes; the key is there for both.
func TestRegisterAndAssert(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		one, two := service(t, b), service(t, b)
		if _, err := one.BeginAssertion(ctx, noon, "alice", page); !errors.Is(err, ErrNoKey) {
			t.Errorf("without a key: %v", err)
		}
		c, err := one.BeginRegistration(ctx, noon, "alice", page)
		if err != nil {
			t.Fatal(err)
		}
		o := webauthntest.Read(t, c.Options)
		if o.RP.ID != "vpn.corp.example" || o.RP.Name != "Corp VPN" || o.User.Name != "alice" || o.Selection.UV != "required" ||
			o.Selection.Resident != "discouraged" || o.Attestation != "none" || o.Timeout != 300_000 || len(o.Parameters) != 3 || len(o.Challenge) != 43 {
			t.Errorf("%s", c.Options)
		}
		d := newDevice(t)
		k, err := two.FinishRegistration(ctx, noon.Add(time.Minute), "alice", page, c.Sealed, " my\tphone\x00 ", d.Create(t, c.Options))
		if err != nil {
			t.Fatal(err)
		}
		if k.ID == "" || k.Label != "myphone" || !k.Created.Equal(noon.Add(time.Minute)) || !k.Used.IsZero() {
			t.Errorf("%+v", k)
		}
		if len(d.Handle) != 64 || bytes.Contains(d.Handle, []byte("alice")) {
			t.Errorf("handle %q", d.Handle)
		}
		c = begin(t, one, "Alice") // as the store's keys fold names
		if o := webauthntest.Read(t, c.Options); o.RPID != "vpn.corp.example" || o.UV != "required" || len(o.Allow) != 1 || o.Allow[0].ID != b64(d.ID) {
			t.Errorf("%s", c.Options)
		}
		if bytes.Contains(c.Options, []byte("warp")) || !bytes.Contains(c.Options, []byte("usb")) {
			t.Errorf("transports: %s", c.Options)
		}
		got, err := two.FinishAssertion(ctx, noon.Add(2*time.Minute), "ALICE", page, c.Sealed, d.Get(t, c.Options))
		if err != nil || got.ID != k.ID || !got.Used.Equal(noon.Add(2*time.Minute)) {
			t.Errorf("%+v, %v", got, err)
		}
		list, err := one.Keys(ctx, "alice")
		if err != nil || len(list) != 1 || list[0] != got {
			t.Errorf("%+v, %v", list, err)
		}

		// A second key, known to the browser as the same user's, and not the first.
		e := newDevice(t)
		c, err = one.BeginRegistration(ctx, noon, "alice", page)
		if err != nil {
			t.Fatal(err)
		}
		if o := webauthntest.Read(t, c.Options); len(o.Exclude) != 1 || o.Exclude[0].ID != b64(d.ID) || o.User.ID != b64(d.Handle) {
			t.Errorf("%s", c.Options)
		}
		if _, err := one.FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", e.Create(t, c.Options)); err != nil {
			t.Fatal(err)
		}
		for _, d := range []*webauthntest.Device{e, d} {
			if err := assert(t, one, "alice", d); err != nil {
				t.Error(err)
			}
		}

		// Removed, it is not asked for any more, and does not verify.
		if err := two.Remove(ctx, "alice", "nobody"); !errors.Is(err, ErrNoKey) {
			t.Error(err)
		}
		c = begin(t, one, "alice")
		if err := two.Remove(ctx, "alice", k.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := one.FinishAssertion(ctx, noon, "alice", page, c.Sealed, d.Get(t, c.Options)); !errors.Is(err, ErrRefused) {
			t.Errorf("a removed key: %v", err)
		}
		if o := webauthntest.Read(t, begin(t, one, "alice").Options); len(o.Allow) != 1 || o.Allow[0].ID != b64(e.ID) {
			t.Errorf("%+v", o)
		}
		if err := one.Reset(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		if list, err := two.Keys(ctx, "alice"); err != nil || len(list) != 0 {
			t.Errorf("after a reset: %v, %v", list, err)
		}
	})
}

// What a stranger's page, a copied key or a changed browser sends.
func TestRefusals(t *testing.T) {
	s := storetest.Embedded(t)
	v := service(t, s)
	for _, row := range []struct {
		name string
		lie  func(*webauthntest.Device)
		want error
	}{
		{"origin", func(d *webauthntest.Device) { d.Origin = "https://vpn.corp.example.evil.example" }, ErrOrigin},
		{"port", func(d *webauthntest.Device) { d.Origin = "https://vpn.corp.example:8443" }, ErrOrigin},
		{"scheme", func(d *webauthntest.Device) { d.Origin = "http://vpn.corp.example" }, ErrOrigin},
		{"origin's case", func(d *webauthntest.Device) { d.Origin = "https://VPN.corp.example" }, ErrOrigin},
		{"origin with a path", func(d *webauthntest.Device) { d.Origin = "https://vpn.corp.example/" }, ErrOrigin},
		{"frame", func(d *webauthntest.Device) { d.CrossOrigin = true }, ErrOrigin},
		{"relying party", func(d *webauthntest.Device) { d.RPID = "corp.example" }, ErrRefused},
		{"challenge", func(d *webauthntest.Device) { d.Challenge = b64(make([]byte, 32)) }, ErrRefused},
		{"not verified", func(d *webauthntest.Device) { d.Unverified = true }, ErrUnverified},
		{"not touched", func(d *webauthntest.Device) { d.Absent = true }, ErrRefused},
		{"backed up and not eligible", func(d *webauthntest.Device) { d.Backup = webauthntest.BackedUp }, ErrRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDevice(t)
			row.lie(d)
			c, err := v.BeginRegistration(ctx, noon, "bob", page)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.FinishRegistration(ctx, noon, "bob", page, c.Sealed, "", d.Create(t, c.Options)); !errors.Is(err, row.want) {
				t.Errorf("registration: %v", err)
			}
			if list, err := v.Keys(ctx, "bob"); err != nil || len(list) != 0 {
				t.Fatalf("%v, %v", list, err)
			}
			d = newDevice(t)
			k := register(t, v, "alice", d)
			row.lie(d)
			if err := assert(t, v, "alice", d); !errors.Is(err, row.want) {
				t.Errorf("assertion: %v", err)
			}
			if err := v.Remove(ctx, "alice", k.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// One answer opens one door, whoever is asked, and at the same instant too.
func TestReplay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Verifier{service(t, b), service(t, b)}
		d := newDevice(t)
		register(t, services[0], "alice", d)
		for range 10 {
			c := begin(t, services[0], "alice")
			answer := d.Get(t, c.Options)
			var won, used atomic.Int32
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					_, err := services[i%2].FinishAssertion(ctx, noon, "alice", page, c.Sealed, answer)
					switch {
					case err == nil:
						won.Add(1)
					case errors.Is(err, ErrUsed):
						used.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 || used.Load() != 5 {
				t.Errorf("%d won, %d lost", won.Load(), used.Load())
			}
		}

		// A wrong answer is the only one as well.
		c := begin(t, services[0], "alice")
		right := d.Get(t, c.Options)
		d.Unverified = true
		wrong := d.Get(t, c.Options)
		d.Unverified = false
		if _, err := services[0].FinishAssertion(ctx, noon, "alice", page, c.Sealed, wrong); !errors.Is(err, ErrUnverified) {
			t.Error(err)
		}
		if _, err := services[1].FinishAssertion(ctx, noon, "alice", page, c.Sealed, right); !errors.Is(err, ErrUsed) {
			t.Error(err)
		}

		// The mark outlives the ceremony on the store's own clock.
		c = begin(t, services[0], "alice")
		answer := d.Get(t, c.Options)
		if _, err := services[0].FinishAssertion(ctx, noon, "alice", page, c.Sealed, answer); err != nil {
			t.Fatal(err)
		}
		if _, err := services[0].FinishAssertion(ctx, noon.Add(ceremonyLife+time.Second), "alice", page, c.Sealed, answer); !errors.Is(err, ErrExpired) {
			t.Error(err)
		}

		// A registration is finished once.
		c, err := services[0].BeginRegistration(ctx, noon, "alice", page)
		if err != nil {
			t.Fatal(err)
		}
		e := newDevice(t)
		answer = e.Create(t, c.Options)
		if _, err := services[0].FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", answer); err != nil {
			t.Fatal(err)
		}
		if _, err := services[1].FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", answer); !errors.Is(err, ErrUsed) {
			t.Error(err)
		}
	})
}

func TestCounter(t *testing.T) {
	v := service(t, storetest.Embedded(t))
	d := newDevice(t)
	register(t, v, "alice", d)
	if err := assert(t, v, "alice", d); err != nil {
		t.Fatal(err)
	}
	d.Still = true
	if err := assert(t, v, "alice", d); !errors.Is(err, ErrClone) {
		t.Errorf("the same count: %v", err)
	}
	d.Count = 0
	if err := assert(t, v, "alice", d); !errors.Is(err, ErrClone) {
		t.Errorf("back at 0: %v", err)
	}
	d.Count, d.Still = 40, false
	if err := assert(t, v, "alice", d); err != nil {
		t.Errorf("further on: %v", err)
	}
	none := newDevice(t)
	none.Still, none.Backup = true, webauthntest.BackupEligible|webauthntest.BackedUp
	register(t, v, "alice", none)
	for range 2 {
		if err := assert(t, v, "alice", none); err != nil {
			t.Errorf("a key without a counter: %v", err)
		}
	}
	none.Backup = 0
	if err := assert(t, v, "alice", none); !errors.Is(err, ErrRefused) {
		t.Errorf("a key that cannot be backed up any more: %v", err)
	}
}

// Two copies of a key that answer two challenges with one count, at one instant.
func TestCopiesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Verifier{service(t, b), service(t, b)}
		d := newDevice(t)
		register(t, services[0], "alice", d)
		for range 10 {
			d.Count++
			d.Still = true
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 2 {
				c := begin(t, services[i], "alice")
				answer := d.Get(t, c.Options)
				wg.Go(func() {
					switch _, err := services[i].FinishAssertion(ctx, noon, "alice", page, c.Sealed, answer); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, ErrClone):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d won", won.Load())
			}
		}
	})
}

// Whose it is, what it is for, and when.
func TestCeremony(t *testing.T) {
	v := service(t, storetest.Embedded(t))
	alice, mallory := newDevice(t), newDevice(t)
	register(t, v, "alice", alice)
	register(t, v, "mallory", mallory)

	// Another user's key, in this user's ceremony and in its owner's.
	if err := assert(t, v, "alice", mallory); !errors.Is(err, ErrRefused) {
		t.Errorf("another user's key: %v", err)
	}
	c := begin(t, v, "mallory")
	if _, err := v.FinishAssertion(ctx, noon, "alice", page, c.Sealed, mallory.Get(t, c.Options)); !errors.Is(err, ErrCeremony) {
		t.Errorf("another user's ceremony: %v", err)
	}
	// With the key ID of the victim and the own key.
	c = begin(t, v, "alice")
	thief := &webauthntest.Device{ID: alice.ID, Key: mallory.Key, Handle: alice.Handle, Origin: alice.Origin, Count: 100}
	if _, err := v.FinishAssertion(ctx, noon, "alice", page, c.Sealed, thief.Get(t, c.Options)); !errors.Is(err, ErrRefused) {
		t.Errorf("another key under the ID: %v", err)
	}
	// With the own handle.
	thief = &webauthntest.Device{ID: alice.ID, Key: alice.Key, Handle: mallory.Handle, Origin: alice.Origin, Count: 100}
	if err := assert(t, v, "alice", thief); !errors.Is(err, ErrRefused) {
		t.Errorf("another handle: %v", err)
	}

	c = begin(t, v, "alice")
	answer := alice.Get(t, c.Options)
	for name, row := range map[string]struct {
		now           time.Time
		scope, sealed string
		want          error
	}{
		"scope":     {noon, "other", c.Sealed, ErrCeremony},
		"expired":   {noon.Add(ceremonyLife + time.Millisecond), page, c.Sealed, ErrExpired},
		"altered":   {noon, page, c.Sealed[:len(c.Sealed)-2] + "AA", ErrCeremony},
		"empty":     {noon, page, "", ErrCeremony},
		"oversized": {noon, page, strings.Repeat("x", 1<<20), ErrCeremony},
	} {
		if _, err := v.FinishAssertion(ctx, row.now, "alice", row.scope, row.sealed, answer); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := v.BeginRegistration(ctx, noon, "alice", page)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.FinishAssertion(ctx, noon, "alice", page, r.Sealed, answer); !errors.Is(err, ErrCeremony) {
		t.Errorf("a registration's ceremony: %v", err)
	}
	if _, err := v.FinishRegistration(ctx, noon.Add(ceremonyLife+time.Second), "alice", page, r.Sealed, "", newDevice(t).Create(t, r.Options)); !errors.Is(err, ErrExpired) {
		t.Errorf("an expired registration: %v", err)
	}
	// None of that has used it up.
	if _, err := v.FinishAssertion(ctx, noon.Add(ceremonyLife), "alice", page, c.Sealed, answer); err != nil {
		t.Errorf("in the last moment: %v", err)
	}
	other, err := New(v.store, ring(t, lineB), Config{URL: "https://vpn.corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	c = begin(t, v, "alice")
	if _, err := other.FinishAssertion(ctx, noon, "alice", page, c.Sealed, alice.Get(t, c.Options)); !errors.Is(err, ErrCeremony) {
		t.Errorf("another ring: %v", err)
	}
}

func TestBounds(t *testing.T) {
	v := service(t, storetest.Embedded(t))
	d := newDevice(t)
	d.ID = make([]byte, maxKeyID) // the longest there is
	register(t, v, "alice", d)
	if err := assert(t, v, "alice", d); err != nil {
		t.Error(err)
	}
	c, err := v.BeginRegistration(ctx, noon, "alice", page)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sealed) > maxCeremony/2 {
		t.Errorf("a ceremony has %d octets", len(c.Sealed))
	}
	answer := newDevice(t).Create(t, c.Options)
	pad := bytes.Repeat([]byte(" "), maxResponse)
	for name, b := range map[string][]byte{
		"oversized": append(pad, answer...), "empty": nil, "no JSON": []byte("{"), "another JSON": []byte("[]"), "twice": append(answer, answer...),
	} {
		if _, err := v.FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", b); !errors.Is(err, ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	certified, foreign := newDevice(t), newDevice(t)
	certified.Format, certified.Certificate = "packed", true
	foreign.Format = "tpm"
	for _, d := range []*webauthntest.Device{certified, foreign} {
		if _, err := v.FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", d.Create(t, c.Options)); !errors.Is(err, ErrResponse) {
			t.Errorf("attestation %s: %v", d.Format, err)
		}
	}
	// The same key once more, as a browser would that does not look at the list.
	if _, err := v.FinishRegistration(ctx, noon, "alice", page, c.Sealed, "", d.Create(t, c.Options)); !errors.Is(err, ErrDuplicate) {
		t.Errorf("the same key: %v", err)
	}

	var late []*Ceremony
	for range 2 {
		c, err := v.BeginRegistration(ctx, noon, "alice", page)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, c)
	}
	for i := range MaxKeys - 2 {
		d := newDevice(t)
		if i == 0 {
			d.Format = "packed" // vouches for itself
		}
		register(t, v, "alice", d)
	}
	for i, want := range []error{nil, ErrTooMany} {
		_, err := v.FinishRegistration(ctx, noon, "alice", page, late[i].Sealed, strings.Repeat("é", 100), newDevice(t).Create(t, late[i].Options))
		if !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", i, err, want)
		}
	}
	if _, err := v.BeginRegistration(ctx, noon, "alice", page); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	list, err := v.Keys(ctx, "alice")
	if err != nil || len(list) != MaxKeys || list[MaxKeys-1].Label != strings.Repeat("é", maxLabel) {
		t.Errorf("%v, %v", list, err)
	}
	c = begin(t, v, "alice")
	for name, b := range map[string][]byte{"oversized": append(pad, d.Get(t, c.Options)...), "a registration's": answer, "empty": nil} {
		if _, err := v.FinishAssertion(ctx, noon, "alice", page, c.Sealed, b); !errors.Is(err, ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two first registrations at once: the second key would know another handle.
func TestFirstKeyTwice(t *testing.T) {
	v := service(t, storetest.Embedded(t))
	var cs []*Ceremony
	for range 2 {
		c, err := v.BeginRegistration(ctx, noon, "alice", page)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	for i, want := range []error{nil, ErrCeremony} {
		if _, err := v.FinishRegistration(ctx, noon, "alice", page, cs[i].Sealed, "", newDevice(t).Create(t, cs[i].Options)); !errors.Is(err, want) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Whoever writes to the store cannot move a key to another user, or make his own of
// it; and nothing there tells a name to whoever finds a key.
func TestStore(t *testing.T) {
	s := storetest.Embedded(t)
	v := service(t, s)
	alice, mallory := newDevice(t), newDevice(t)
	register(t, v, "alice", alice)
	register(t, v, "mallory", mallory)
	get := func(user string) string {
		g := &store.Get{Key: store.UserKeys(user)}
		if err := s.Do(ctx, store.Seq{g}); err != nil || !g.Found {
			t.Fatalf("%v, %v", g.Found, err)
		}
		return g.Value
	}
	put := func(user, value string) {
		if err := s.Do(ctx, store.Seq{&store.Put{Key: store.UserKeys(user), Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
	own := get("alice")
	put("alice", get("mallory"))
	if err := assert(t, v, "alice", mallory); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("a moved key: %v", err)
	}
	put("alice", own)

	two, err := New(s, ring(t, lineB+lineA), Config{URL: "https://vpn.corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		before := get("alice")
		if changed, err := two.Reseal(ctx, "alice"); changed != want || err != nil {
			t.Errorf("reseal: %v, %v", changed, err)
		}
		if (get("alice") != before) != want {
			t.Error("the record")
		}
	}
	three, err := New(s, ring(t, lineB), Config{URL: "https://vpn.corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	if err := assert(t, three, "alice", alice); err != nil {
		t.Errorf("without the old key: %v", err)
	}
	for _, broken := range []string{"{", `{"keys":[{"id":""}]}`, `{"keys":[{"id":"x","raw":"AA=="}]}`} {
		put("alice", broken)
		if _, err := v.Keys(ctx, "alice"); err == nil {
			t.Errorf("%s was read", broken)
		}
	}
	s.Close()
	if _, err := v.Keys(ctx, "alice"); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}

// Who has keys and nothing else is found by a rekey, too.
func TestRegistrationIsListed(t *testing.T) {
	s := storetest.Embedded(t)
	register(t, service(t, s), "alice@corp.example", newDevice(t))
	list := &store.Members{Key: store.EnrolledAs("alice@corp.example"), Limit: 10}
	if err := s.Do(ctx, store.Seq{list}); err != nil || len(list.List) != 1 || list.List[0].Name != "alice@corp.example" {
		t.Errorf("%+v, %v", list.List, err)
	}
}

func TestRelyingParty(t *testing.T) {
	for portal, want := range map[string]string{
		"https://vpn.corp.example":                   "vpn.corp.example https://vpn.corp.example",
		"https://VPN.Corp.example:443/portal/":       "vpn.corp.example https://vpn.corp.example",
		"https://vpn.corp.example:8443":              "vpn.corp.example https://vpn.corp.example:8443",
		"https://portal":                             "",
		"http://localhost:8080":                      "localhost http://localhost:8080",
		"http://a.localhost:80":                      "a.localhost http://a.localhost",
		"https://localhost":                          "localhost https://localhost",
		"https://xn--bcher-kva.example":              "xn--bcher-kva.example https://xn--bcher-kva.example",
		"http://vpn.corp.example":                    "",
		"https://192.0.2.1":                          "",
		"https://127.1":                              "",
		"https://[2001:db8::1]:443":                  "",
		"https://bücher.example":                     "",
		"https://vpn.corp.example.":                  "",
		"https://.example":                           "",
		"https://" + strings.Repeat("a.", 130) + "a": "",
		"ftp://vpn.corp.example":                     "",
		"vpn.corp.example":                           "",
		"https://":                                   "",
		"%":                                          "",
		"":                                           "",
	} {
		id, origin, err := relyingParty(portal)
		if want == "" {
			if !errors.Is(err, ErrName) {
				t.Errorf("%s: %s %s, %v", portal, id, origin, err)
			}
			if _, err := New(nil, nil, Config{URL: portal}); !errors.Is(err, ErrName) {
				t.Errorf("%s: %v", portal, err)
			}
			continue
		}
		if got := fmt.Sprint(id, " ", origin); got != want || err != nil {
			t.Errorf("%s: %s, %v", portal, got, err)
		}
		if _, err := New(nil, nil, Config{URL: portal}); err != nil {
			t.Errorf("%s: %v", portal, err)
		}
	}
}

func newDevice(t testing.TB) *webauthntest.Device {
	return webauthntest.New(t, "https://vpn.corp.example")
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
