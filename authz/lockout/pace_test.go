package lockout

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Wrong passwords take what an ordinary directory takes, with a tail; who is refused
// must not be told from them by the clock.
func TestPaceCannotBeToldApart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := NewPace()
	p.draw = r.Float64
	wrong := func() time.Duration {
		d := 12*time.Millisecond + time.Duration(r.ExpFloat64()*float64(8*time.Millisecond))
		if r.IntN(20) == 0 {
			d += 100 * time.Millisecond // another domain controller
		}
		return d
	}
	var asked, refused []time.Duration
	for range 20000 {
		d := wrong()
		p.Took("lab", d)
		asked = append(asked, d)
		refused = append(refused, p.Like("lab"))
	}
	slices.Sort(asked)
	slices.Sort(refused)
	for _, q := range []int{10, 50, 90} {
		a, b := asked[len(asked)*q/100], refused[len(refused)*q/100]
		if diff := (a - b).Abs(); float64(diff) > paceJitter*float64(a) {
			t.Errorf("%d%%: %v asked, %v refused", q, a, b)
		}
	}
}

func TestPace(t *testing.T) {
	p := NewPace()
	for range 100 {
		if d := p.Like("lab"); d < paceLeast || d >= paceLeast+paceSpread {
			t.Errorf("before the first: %v", d)
		}
	}
	p.Took("lab", time.Hour)
	if d := p.Like("lab"); d > paceMost*21/20 {
		t.Errorf("held for %v", d)
	}
	for range paceSamples {
		p.Took("lab", 100*time.Millisecond)
	}
	for range 100 {
		if d := p.Like("lab"); d < 95*time.Millisecond || d > 105*time.Millisecond {
			t.Errorf("like 100 ms: %v", d)
		}
		if d := p.Like("other"); d >= paceLeast+paceSpread {
			t.Errorf("another directory: %v", d)
		}
	}
	for i := range 2 * paceKinds {
		p.Took(string(rune('a'+i)), time.Second)
	}
	if len(p.kinds) > paceKinds {
		t.Errorf("%d kinds", len(p.kinds))
	}
}
