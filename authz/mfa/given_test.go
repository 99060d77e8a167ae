package mfa

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

const seedC = "NBSWY3DPEB3W64TMMQQGC3TENBSWY3DP"

// givenCode is a code of a directory's token.
func givenCode(t testing.TB, seed string, at time.Time, digits otp.Digits, period int64, a otp.Algorithm) string {
	t.Helper()
	c, err := hotp.GenerateCodeCustom(seed, uint64(at.Unix()/period), hotp.ValidateOpts{Digits: digits, Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func usual(t testing.TB, seed string, at time.Time) string {
	t.Helper()
	return givenCode(t, seed, at, otp.DigitsSix, 30, otp.AlgorithmSHA1)
}

// ask loads a user with the seeds of the directory.
func ask(t testing.TB, v *Verifier, user string, values ...string) *Query {
	t.Helper()
	q := v.Ask(user)
	if err := v.store.Do(ctx, q.Seqs()...); err != nil {
		t.Fatal(err)
	}
	_ = v.With(q, values)
	return q
}

// use checks a code and burns it.
func use(t testing.TB, v *Verifier, at time.Time, user, code string, values ...string) Outcome {
	t.Helper()
	r, err := v.Check(at, ask(t, v, user, values...), code)
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome == OK {
		b := v.Burn(user, r, "")
		if err := v.store.Do(ctx, b.Seqs()...); err != nil {
			t.Fatal(err)
		}
		if b.Lost() {
			return Replayed
		}
	}
	return r.Outcome
}

// Every form of a seed opens, once, and the same code in another form does not.
func TestGivenForms(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	sealed, err := v.SealGiven("Alice", seedA)
	if err != nil {
		t.Fatal(err)
	}
	url := "otpauth://totp/ACME:alice?secret=" + seedA + "&issuer=ACME"
	sealedURL, err := v.SealGiven("alice", url)
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	for _, form := range []string{seedA, seedA + "====", url, sealed, sealedURL} {
		now = now.Add(time.Minute)
		code := usual(t, seedA, now)
		if got := use(t, v, now, "alice", code, form); got != OK {
			t.Errorf("%s: %v", form, got)
		}
		for _, other := range []string{seedA, url, sealed} {
			if got := use(t, v, now, "alice", code, other); got != Replayed {
				t.Errorf("%s, and again as %s: %v", form, other, got)
			}
		}
	}
	long := "otpauth://totp/x?secret=" + seedB + "&digits=8&period=60&algorithm=SHA512"
	code := givenCode(t, seedB, now, otp.DigitsEight, 60, otp.AlgorithmSHA512)
	if got := use(t, v, now, "alice", code, seedA, long); got != OK {
		t.Errorf("eight digits: %v", got)
	}
	q := ask(t, v, "alice", seedA, long)
	if digits, err := q.Digits(); err != nil || !slices.Equal(digits, []int{8, 6}) || !q.Enrolled() {
		t.Errorf("digits %v, %v, enrolled %v", digits, err, q.Enrolled())
	}
	if q := ask(t, v, "alice"); q.Enrolled() {
		t.Error("enrolled with nothing")
	}
	if got := use(t, v, now, "alice", usual(t, seedC, now)); got != NotEnrolled {
		t.Errorf("without a seed: %v", got)
	}
}

// What cannot be used opens nothing, is told without being shown, and does not make its
// user one without a token.
func TestGivenMistakes(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	bobs, err := v.SealGiven("bob", seedA)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := seal.ParseRing([]byte("z BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	lost, err := elsewhere.Seal(givenPurpose, "alice", []byte(seedA))
	if err != nil {
		t.Fatal(err)
	}
	stored, err := ring(t).Seal(purpose, subject("alice", "x"), []byte(seedA))
	if err != nil {
		t.Fatal(err)
	}
	nonsense, err := ring(t).Seal(givenPurpose, "alice", []byte("my telephone"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		value string
		want  error
	}{
		{"alice's entry in the telephone book", errSeedForm},
		{"on holiday until May", errSeedForm},
		{"ACCOUNTINGDEPARTMENT", errSeedForm},
		{strings.ToLower(seedA), errSeedForm},
		{"GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ", errSeedForm},
		{seedA[:24], errSeedForm}, // fifteen octets
		{seedA + "A", errSeedForm},
		{"otpauth://totp/x?secret=" + seedA[:15], errSeedParts}, // nine octets
		{"otpauth://totp/x?secret=" + seedA + "A", errSeedParts},
		{strings.Repeat("GEZDGNBV", 26), errSeedForm},
		{"", errSeedForm},
		{"otpauth://hotp/x:alice?counter=1&secret=" + seedA, errSeedForm},
		{"otpauth://" + seedA, errSeedForm},
		{"otpauth:\x7f" + seedA, errSeedForm},
		{"otpauth://totp/x?secret=" + seedA + "&digits=9", errSeedParts},
		{"otpauth://totp/x?secret=" + seedA + "&period=5", errSeedParts},
		{"otpauth://totp/x?secret=" + seedA + "&algorithm=MD5", errSeedParts},
		{"otpauth://totp/x?secret=!" + seedA, errSeedParts},
		{"otpauth://totp/x", errSeedParts},
		{bobs, errSeedOpen},
		{bobs[:len(bobs)-4] + "AAAA", errSeedOpen},
		{stored, errSeedOpen}, // another purpose
		{lost, errSeedKey},
		{nonsense, errSeedForm},
	} {
		q := v.Ask("alice")
		if err := v.store.Do(ctx, q.Seqs()...); err != nil {
			t.Fatal(err)
		}
		err := v.With(q, []string{row.value})
		if !errors.Is(err, row.want) || !strings.HasPrefix(err.Error(), "seed 1 of 1: ") {
			t.Errorf("%q: %v, want %v", row.value, err, row.want)
			continue
		}
		for _, secret := range []string{seedA, seedA[:10], row.value} {
			if len(secret) > 0 && strings.Contains(err.Error(), secret) {
				t.Errorf("%q is shown: %v", row.value, err)
			}
		}
		if !q.Enrolled() {
			t.Errorf("%q: not enrolled", row.value)
		}
		for _, code := range []string{usual(t, seedA, noon), "000000", "", givenCode(t, "", noon, otp.DigitsSix, 30, otp.AlgorithmSHA1)} {
			if r, err := v.Check(noon, q, code); err != nil || r.Outcome != Wrong {
				t.Errorf("%q and %q: %+v, %v", row.value, code, r, err)
			}
		}
	}
	for _, value := range []string{"", "telephone", bobs} {
		if _, err := v.SealGiven("alice", value); err == nil {
			t.Errorf("sealed %q", value)
		}
	}
	// The good ones among them count.
	if got := use(t, v, noon, "alice", usual(t, seedB, noon), "telephone", seedB, bobs); got != OK {
		t.Errorf("one of three: %v", got)
	}
}

// More seeds give a guesser more codes; the same secret twice gives a code two marks.
func TestGivenBounds(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	var values []string
	for i := range MaxTokens + 1 {
		values = append(values, fmt.Sprintf("%s%c", seedA[:31], 'A'+i))
	}
	q := v.Ask("alice")
	if err := v.With(q, values); !errors.Is(err, errSeedBeyond) || len(q.given) != MaxTokens {
		t.Errorf("%d seeds: %v", len(q.given), err)
	}
	if got := use(t, v, noon, "alice", usual(t, values[MaxTokens], noon), values...); got != Wrong {
		t.Errorf("the one too many: %v", got)
	}
	if got := use(t, v, noon, "alice", usual(t, values[MaxTokens-1], noon), values...); got != OK {
		t.Errorf("the last: %v", got)
	}

	// As six digits and as eight: who sees the longer code knows the shorter.
	long := "otpauth://totp/x?digits=8&secret=" + seedB
	q = v.Ask("bob")
	if err := v.With(q, []string{seedB, long}); !errors.Is(err, errSeedTwice) || len(q.given) != 1 {
		t.Errorf("%d seeds: %v", len(q.given), err)
	}
	// One that was taken over from the directory into the store.
	seeds, _, err := ParseSeeds(strings.NewReader("carol," + seedB + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Import(ctx, noon, "carol", seeds[0]); err != nil {
		t.Fatal(err)
	}
	code := usual(t, seedB, noon)
	if got := use(t, v, noon, "carol", code, seedB); got != OK {
		t.Errorf("in both: %v", got)
	}
	if got := use(t, v, noon, "carol", code, seedB); got != Replayed {
		t.Errorf("in both, again: %v", got)
	}
	// Beside one of the store, each has its own.
	e := enroll(t, v, "dave")
	for _, code := range []string{codeAt(t, e, noon), usual(t, seedC, noon)} {
		if got := use(t, v, noon, "dave", code, seedC); got != OK {
			t.Errorf("beside another: %v", got)
		}
	}
}

// Codes that are behind or ahead move the window, as those of the store's tokens do.
func TestGivenDrift(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	now := noon
	for day := range 8 {
		now = noon.Add(time.Duration(day) * 24 * time.Hour)
		if got := use(t, v, now, "alice", usual(t, seedA, now.Add(time.Duration(day+1)*20*time.Second)), seedA); got != OK {
			t.Fatalf("day %d: %v", day, got)
		}
	}
	now = now.Add(time.Hour)
	if got := use(t, v, now, "alice", usual(t, seedA, now), seedA); got != Wrong {
		t.Errorf("a clock that is right after all: %v", got)
	}
	if got := use(t, v, now, "bob", usual(t, seedA, now), seedA); got != OK {
		t.Errorf("the same seed with another user: %v", got)
	}
}

// The marks say nothing of the secrets, and live on under another key.
func TestGivenMarks(t *testing.T) {
	b := storetest.Embedded(t)
	old := New(b, ring(t), Config{})
	code := usual(t, seedA, noon)
	if got := use(t, old, noon, "alice", code, seedA); got != OK {
		t.Fatal(got)
	}
	marks := &store.Marks{Key: store.UserSteps("alice")}
	if err := b.Do(ctx, store.Seq{marks}); err != nil || len(marks.Last) != 1 {
		t.Fatalf("%v, %v", marks.Last, err)
	}
	octets, _ := parseGiven(seedA)
	for id := range marks.Last {
		for _, secret := range []string{seedA, strings.ToLower(seedA), string(octets.octets), hex.EncodeToString(octets.octets)} {
			if !strings.HasPrefix(id, "given.d1.a.") || strings.Contains(id, secret) {
				t.Errorf("mark %q", id)
			}
		}
	}
	both, err := seal.ParseRing([]byte("b BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=\na AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	rotated := New(b, both, Config{})
	if got := use(t, rotated, noon, "alice", code, seedA); got != Replayed {
		t.Errorf("after a rotation: %v", got)
	}
	// A service with the new ring and one with the old share the mark.
	later := noon.Add(time.Minute)
	code = usual(t, seedA, later)
	if got := use(t, rotated, later, "alice", code, seedA); got != OK {
		t.Errorf("the next code: %v", got)
	}
	if got := use(t, old, later, "alice", code, seedA); got != Replayed {
		t.Errorf("the next code at the other service: %v", got)
	}
}

// One code opens one login, whoever asks at the same time.
func TestGivenOnce(t *testing.T) {
	b := storetest.Embedded(t)
	one, two := New(b, ring(t), Config{}), New(b, ring(t), Config{})
	code := usual(t, seedA, noon)
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for i := range 40 {
		wg.Go(func() {
			v := one
			if i%2 == 1 {
				v = two
			}
			if use(t, v, noon, "alice", code, seedA) == OK {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d logins", won)
	}
}

func FuzzParseGiven(f *testing.F) {
	for _, s := range []string{
		seedA, seedA + "A", "gezd gnbv gy3t qojq=", "otpauth://totp/ACME:carol?secret=" + seedB + "&digits=8&period=60&algorithm=SHA512",
		"otpauth://hotp/x?secret=" + seedB, "otpauth:", "v1.a.AAAA", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		g, err := parseGiven(value)
		if err != nil {
			if value != "" && len(value) > 12 && strings.Contains(err.Error(), value) {
				t.Errorf("%q is shown", value)
			}
			return
		}
		a := g.Algorithm
		if a == "" {
			a = "SHA1"
		}
		again, err := parseGiven(fmt.Sprintf("otpauth://totp/x?secret=%s&digits=%d&period=%d&algorithm=%s", g.secret, g.Digits, g.Period, a))
		if err != nil || again.token != g.token || !bytes.Equal(again.octets, g.octets) {
			t.Errorf("%q: %v, %v", value, again.Token, err)
		}
		// Codes can be computed of whatever was accepted.
		if _, err := hotp.GenerateCodeCustom(g.secret, 1, hotp.ValidateOpts{Digits: otp.Digits(g.Digits), Algorithm: g.algorithm()}); err != nil {
			t.Errorf("%q: %v", value, err)
		}
	})
}
