package mfa

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

var (
	ctx  = context.Background()
	noon = time.Date(2026, 3, 1, 12, 0, 5, 0, time.UTC)
)

func ring(t testing.TB) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing([]byte("a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func enroll(t testing.TB, v *Verifier, user string) *Enrolment {
	t.Helper()
	e, err := v.Enroll(ctx, noon, user, "phone")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func codeAt(t testing.TB, e *Enrolment, at time.Time) string {
	t.Helper()
	c, err := hotp.GenerateCodeCustom(e.Secret, uint64(at.Unix()/e.Token.Period), hotp.ValidateOpts{
		Digits: otp.Digits(e.Token.Digits), Algorithm: e.Token.algorithm(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func verify(t testing.TB, v *Verifier, at time.Time, user, code string) Result {
	t.Helper()
	r, err := v.Verify(ctx, at, user, code)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOutcomes(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	e := enroll(t, v, "alice")
	step := noon.Unix() / 30
	for _, row := range []struct {
		name string
		user string
		code string
		want Result
	}{
		{"nobody's", "bob", "123456", Result{Outcome: NotEnrolled}},
		{"two periods old", "alice", codeAt(t, e, noon.Add(-60*time.Second)), Result{Outcome: Wrong}},
		{"two periods early", "alice", codeAt(t, e, noon.Add(60*time.Second)), Result{Outcome: Wrong}},
		{"no digits", "alice", "abcdef", Result{Outcome: Wrong}},
		{"short", "alice", "12345", Result{Outcome: Wrong}},
		{"long", "alice", "12345678", Result{Outcome: Wrong}},
		{"none", "alice", "", Result{Outcome: Wrong}},
		{"one period old", "alice", codeAt(t, e, noon.Add(-30*time.Second)), Result{Outcome: OK, Token: e.Token.ID, Step: step - 1}},
		{"the same again", "alice", codeAt(t, e, noon.Add(-30*time.Second)), Result{Outcome: Replayed, Token: e.Token.ID, Step: step - 1}},
		{"now", "Alice", codeAt(t, e, noon), Result{Outcome: OK, Token: e.Token.ID, Step: step}},
		{"older than the last", "alice", codeAt(t, e, noon.Add(-30*time.Second)), Result{Outcome: Replayed, Token: e.Token.ID, Step: step - 1}},
		{"one period early", "alice", codeAt(t, e, noon.Add(30*time.Second)), Result{Outcome: OK, Token: e.Token.ID, Step: step + 1}},
		{"now, after the early one", "alice", codeAt(t, e, noon), Result{Outcome: Replayed, Token: e.Token.ID, Step: step}},
	} {
		got := verify(t, v, noon, row.user, row.code)
		got.drift = 0 // TestDrift…
		if got != row.want {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
	if (Result{}).Outcome == OK || OK.String() != "ok" || Outcome(99).String() != "unknown" {
		t.Error("outcomes")
	}
}

func TestDriftConfig(t *testing.T) {
	s := storetest.Embedded(t)
	e := enroll(t, New(s, ring(t), Config{}), "alice")
	for _, row := range []struct{ drift, off, want int }{
		{-1, 0, int(OK)}, {-1, -1, int(Wrong)}, {3, -3, int(OK)}, {3, 4, int(Wrong)}, {1000, 11, int(Wrong)},
	} {
		v := New(s, ring(t), Config{Drift: row.drift})
		if err := s.Do(ctx, store.Seq{&store.Delete{Key: store.UserSteps("alice")}}); err != nil {
			t.Fatal(err)
		}
		code := codeAt(t, e, noon.Add(time.Duration(row.off)*30*time.Second))
		if r := verify(t, v, noon, "alice", code); int(r.Outcome) != row.want {
			t.Errorf("%+v: %v", row, r.Outcome)
		}
	}
}

// RFC 6238 appendix B, SHA-1.
func TestRFC6238(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // "12345678901234567890"
	v := New(nil, nil, Config{})
	tok := token{Token{ID: "t", Digits: 8, Period: 30}, secret}
	for at, code := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924",
		2000000000: "69279037", 20000000000: "65353130",
	} {
		step, fresh, err := v.match(time.Unix(at, 0), tok, code, 0, 0)
		if err != nil || step != at/30 || !fresh {
			t.Errorf("%d: step %d, %v", at, step, err)
		}
	}
	for alg, code := range map[string]string{"SHA256": "46119246", "SHA512": "90693936"} {
		s := map[string]string{
			"SHA256": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA====",
			"SHA512": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA=",
		}[alg]
		tok := token{Token{ID: "t", Digits: 8, Period: 30, Algorithm: alg}, s}
		if step, _, err := v.match(time.Unix(59, 0), tok, code, 0, 0); err != nil || step != 1 {
			t.Errorf("%s: %d, %v", alg, step, err)
		}
	}
}

// A code used at the same instant by many logins, on two services, opens one.
func TestOneCodeOneLogin(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Verifier{New(b, ring(t), Config{}), New(b, ring(t), Config{})}
		e := enroll(t, services[0], "alice")
		code := codeAt(t, e, noon)
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				switch r, err := services[i%2].Verify(ctx, noon, "alice", code); {
				case err != nil:
					t.Error(err)
				case r.Outcome == OK:
					won.Add(1)
				case r.Outcome == Replayed:
					lost.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 49 {
			t.Errorf("%d opened, %d replayed", won.Load(), lost.Load())
		}
		// After a crash it is still used.
		v := New(b.Crash(t), ring(t), Config{})
		if r := verify(t, v, noon, "alice", code); r.Outcome != Replayed {
			t.Errorf("after a crash: %v", r.Outcome)
		}
	})
}

// The login whose answer was lost may ask again, another may not; what stands
// behind a lost burn does not happen.
func TestBurn(t *testing.T) {
	b := storetest.Embedded(t)
	v := New(b, ring(t), Config{})
	enroll(t, v, "alice")
	r := Result{Outcome: OK, Token: "t", Step: 7}
	for _, row := range []struct {
		id   string
		lost bool
	}{{"login 1", false}, {"login 1", false}, {"login 2", true}, {"", true}} {
		burn := v.Burn("alice", r, row.id)
		behind := &store.Enter{Key: store.UserLive("alice"), Member: row.id, For: time.Hour}
		if err := b.Do(ctx, store.Join(burn.Seqs(), []store.Seq{{behind}})...); err != nil {
			t.Fatal(err)
		}
		if burn.Lost() != row.lost || behind.OK == row.lost {
			t.Errorf("%+v: lost %v, behind %v", row, burn.Lost(), behind.OK)
		}
	}
}

func TestTokens(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{Issuer: "ACME: VPN", Digits: 8, Period: time.Minute})
	e := enroll(t, v, `CORP:alice`)
	u, err := url.Parse(e.URL)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("digits") != "8" ||
		u.Query().Get("period") != "60" || u.Query().Get("secret") != e.Secret || u.Path != "/ACME_ VPN:CORP_alice" {
		t.Errorf("URL differs: %s, %v", u.Path, err)
	}
	if n := len(e.Secret); n != 32 {
		t.Errorf("secret of %d characters", n)
	}
	for range MaxTokens - 1 {
		enroll(t, v, `CORP:alice`)
	}
	if _, err := v.Enroll(ctx, noon, `CORP:alice`, ""); err == nil {
		t.Error("one token too many")
	}
	list, err := v.Tokens(ctx, `CORP:alice`)
	if err != nil || len(list) != MaxTokens || list[0] != e.Token {
		t.Fatalf("%v, %v", list, err)
	}
	// Each works, each by itself.
	if r := verify(t, v, noon, `CORP:alice`, codeAt(t, e, noon)); r.Token != e.Token.ID {
		t.Errorf("%+v", r)
	}
	if err := v.Remove(ctx, `CORP:alice`, e.Token.ID); err != nil {
		t.Error(err)
	}
	if err := v.Remove(ctx, `CORP:alice`, e.Token.ID); err == nil {
		t.Error("removed twice")
	}
	if r := verify(t, v, noon, `CORP:alice`, codeAt(t, e, noon)); r.Outcome != Wrong {
		t.Errorf("removed token: %+v", r)
	}
	if err := v.Reset(ctx, `CORP:alice`); err != nil {
		t.Error(err)
	}
	if r := verify(t, v, noon, `CORP:alice`, "12345678"); r.Outcome != NotEnrolled {
		t.Errorf("after reset: %+v", r)
	}
	// The last token removed is no token.
	e = enroll(t, v, "bob")
	if err := v.Remove(ctx, "bob", e.Token.ID); err != nil {
		t.Error(err)
	}
	if r := verify(t, v, noon, "bob", "12345678"); r.Outcome != NotEnrolled {
		t.Errorf("no token left: %+v", r)
	}
	enroll(t, v, "bob")
}

func TestParallelEnrolment(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := v.Enroll(ctx, noon, "alice", ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if list, err := v.Tokens(ctx, "alice"); err != nil || len(list) != 3 {
		t.Errorf("%d tokens, %v", len(list), err)
	}
}

func TestSealed(t *testing.T) {
	b := storetest.Embedded(t)
	v := New(b, ring(t), Config{})
	e := enroll(t, v, "alice")
	get := &store.Get{Key: store.UserTokens("alice")}
	if err := b.Do(ctx, store.Seq{get}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(get.Value, e.Secret) || !strings.Contains(get.Value, `"sealed":"v1.a.`) {
		t.Error("the secret lies open")
	}
	if s := fmt.Sprintf("%v %+v %#v %s", e, e, e, e); strings.Contains(s, e.Secret) {
		t.Error("an enrolment prints its secret")
	}
	// Another user's record does not open.
	if err := b.Do(ctx, store.Seq{&store.Put{Key: store.UserTokens("bob"), Value: get.Value}}); err != nil {
		t.Fatal(err)
	}
	if r, err := v.Verify(ctx, noon, "bob", codeAt(t, e, noon)); err == nil {
		t.Errorf("alice's token serves bob: %+v", r)
	}
	// A broken record is an error, never "not enrolled".
	for _, bad := range []string{"junk", `[{}]`, `[{"id":"x","digits":9,"period":30}]`, `[{"id":"x","digits":6,"period":0}]`} {
		if err := b.Do(ctx, store.Seq{&store.Put{Key: store.UserTokens("bob"), Value: bad}}); err != nil {
			t.Fatal(err)
		}
		if r, err := v.Verify(ctx, noon, "bob", "123456"); err == nil {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}

func TestReseal(t *testing.T) {
	b := storetest.Embedded(t)
	e := enroll(t, New(b, ring(t), Config{}), "alice")
	both, err := seal.ParseRing([]byte("b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\na AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	v := New(b, both, Config{})
	for _, want := range []bool{true, false} {
		if changed, err := v.Reseal(ctx, "alice"); err != nil || changed != want {
			t.Errorf("%v, %v", changed, err)
		}
	}
	only, _ := seal.ParseRing([]byte("b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"))
	if r := verify(t, New(b, only, Config{}), noon, "alice", codeAt(t, e, noon)); r.Outcome != OK {
		t.Errorf("without the old key: %v", r.Outcome)
	}
}

// The library's own check agrees with ours.
func TestAgainstLibrary(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	e := enroll(t, v, "alice")
	for i := range 20 {
		at := noon.Add(time.Duration(i) * 37 * time.Second)
		code, err := totp.GenerateCode(e.Secret, at)
		if err != nil {
			t.Fatal(err)
		}
		if r := verify(t, v, at, "alice", code); r.Outcome != OK {
			t.Errorf("%v: %v", at, r.Outcome)
		}
	}
}
