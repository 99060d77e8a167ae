package pool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

var ctx = context.Background()

func pools(t testing.TB, specs ...Spec) *Pools {
	t.Helper()
	ps, err := New(specs)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func claim(t testing.TB, ps *Pools, s store.Store, name, holder, owner string) (netip.Addr, error) {
	t.Helper()
	c, err := ps.Claim(name, holder, owner, time.Hour)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := s.Do(ctx, c.Seqs()...); err != nil {
		t.Fatal(err)
	}
	return c.Finish(ctx, s)
}

func TestNewErrors(t *testing.T) {
	var many []string
	for i := range store.MaxRanges + 1 {
		many = append(many, fmt.Sprintf("10.9.%d.%d", i/100, i%100*2))
	}
	for _, row := range []struct {
		specs []Spec
		want  string
	}{
		{[]Spec{{"a", []string{"10.0.0.0/24"}, nil}, {"b", []string{"10.0.0.128/25"}, nil}}, `10.0.0.129-10.0.0.254 overlaps 10.0.0.1-10.0.0.254 of pool "a"`},
		{[]Spec{{"a", []string{"10.0.0.5"}, nil}, {"a", []string{"10.0.0.6"}, nil}}, "twice"},
		{[]Spec{{"a", nil, nil}}, "no address"},
		{[]Spec{{"a", []string{"10.0.0.0/24"}, []string{"10.0.0.0/24"}}}, "no address"},
		{[]Spec{{"", []string{"10.0.0.0/24"}, nil}}, "name"},
		{[]Spec{{"a", []string{"0.0.0.0-0.0.0.9"}, nil}}, "0.0.0.0"},
		{[]Spec{{"a", many, nil}}, "separate ranges"},
		{[]Spec{{"a", []string{"x"}, []string{"y"}}, {"b", []string{"z"}, nil}}, "x"},
	} {
		_, err := New(row.specs)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: %v", row.want, err)
		}
	}
	_, err := New([]Spec{{"a", []string{"x"}, []string{"y"}}, {"b", []string{"z"}, nil}})
	for _, want := range []string{`"x"`, `"y"`, `"z"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not all mistakes at once: %v", err)
		}
	}
}

func TestPools(t *testing.T) {
	ps := pools(t, Spec{"a", []string{"10.0.0.0/24"}, []string{"10.0.0.1", "10.0.0.128/25"}}, Spec{"b", []string{"10.0.0.200"}, nil})
	if ps.Size("a") != 126 || ps.Size("b") != 1 || ps.Size("c") != 0 || fmt.Sprint(ps.Names()) != "[a b]" {
		t.Errorf("%d, %d, %v", ps.Size("a"), ps.Size("b"), ps.Names())
	}
	for in, want := range map[string]string{"10.0.0.2": "a", "::ffff:10.0.0.127": "a", "10.0.0.1": "", "10.0.0.128": "", "10.0.0.200": "b", "::1": ""} {
		if got, _ := ps.Contains(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
	routes := []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.0.0.96/27")}
	if err := ps.Overlap(routes[:2]); err != nil {
		t.Error(err)
	}
	if err := ps.Overlap(routes); err == nil || !strings.Contains(err.Error(), `pool "a": 10.0.0.2-10.0.0.127 overlaps 10.0.0.96/27`) {
		t.Error(err)
	}
}

func TestClaim(t *testing.T) {
	s := storetest.Embedded(t)
	ps := pools(t, Spec{"a", []string{"10.0.0.0/24"}, []string{"10.0.0.1-10.0.0.252"}})
	if _, err := claim(t, ps, s, "x", "s1", "alice"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	first, err := claim(t, ps, s, "a", "s1", "alice")
	if err != nil || first.String() != "10.0.0.253" {
		t.Fatalf("%v, %v", first, err)
	}
	if got, err := claim(t, ps, s, "a", "s2", "bob"); err != nil || got.String() != "10.0.0.254" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := claim(t, ps, s, "a", "s3", "carol"); !errors.Is(err, ErrExhausted) || got.IsValid() {
		t.Errorf("%v, %v", got, err)
	}
	us, err := ps.Usage(ctx, s)
	if err != nil || len(us) != 1 || us[0] != (Usage{"a", 2, 2}) {
		t.Errorf("%v, %v", us, err)
	}
	for _, r := range []store.Release{{Pool: "a", Holder: "s1"}, {Pool: "a", Holder: "s2"}} {
		if err := s.Do(ctx, store.Seq{&r}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := claim(t, ps, s, "a", "s4", "bob"); err != nil || got.String() != "10.0.0.254" {
		t.Errorf("bob comes back: %v, %v", got, err)
	}
}

// A cut of a big pool is walked in several calls, unseen by the caller.
func TestClaimGoesOn(t *testing.T) {
	s := storetest.Embedded(t)
	big := pools(t, Spec{"a", []string{"10.0.0.0/20"}, nil}) // 4094
	for n := 0; n < 4000; n += 250 {
		var seqs []store.Seq
		for i := range 250 {
			c, _ := big.Claim("a", fmt.Sprint(n+i), "", time.Hour)
			seqs = append(seqs, c.Seqs()...)
		}
		if err := s.Do(ctx, seqs...); err != nil {
			t.Fatal(err)
		}
	}
	cut := pools(t, Spec{"a", []string{"10.0.0.2-10.0.15.255"}, nil})
	if got, err := claim(t, cut, s, "a", "x", "x"); err != nil || got.String() != "10.0.15.161" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParallelClaims(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		ps := pools(t, Spec{"a", []string{"10.0.0.0/26"}, nil}) // 62
		var mu sync.Mutex
		var wg sync.WaitGroup
		seen := map[netip.Addr]string{}
		exhausted := 0
		for i := range 100 {
			wg.Go(func() {
				id := fmt.Sprint("s", i)
				a, err := claim(t, ps, b, "a", id, id)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrExhausted):
					exhausted++
				case err != nil:
					t.Error(err)
				case seen[a] != "":
					t.Errorf("%v leased to %s and %s", a, seen[a], id)
				default:
					seen[a] = id
				}
			})
		}
		wg.Wait()
		if len(seen) != 62 || exhausted != 38 {
			t.Errorf("%d leased, %d refused", len(seen), exhausted)
		}
	})
}
