package ticket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/seal"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

var ctx = context.Background()

func ring(t testing.TB) *seal.Ring {
	t.Helper()
	r, err := seal.ParseRing([]byte("a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A ticket that was made to enrol a device sets up no second factor, nor the other way
// round, and it is not spent by who tries.
func TestPurposes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		tokens := New(b, ring(t), "ticket", store.UserTickets)
		devices := New(b, ring(t), "device ticket", store.UserDeviceTickets)
		k, err := devices.Make(ctx, "alice", "LT-0231", time.Hour)
		if err != nil || strings.Contains(fmt.Sprintf("%v %#v", k, &k), k.Code) {
			t.Fatalf("%v, %v", k, err)
		}
		if other, err := tokens.Use(ctx, k.Code); !errors.Is(err, ErrNone) {
			t.Errorf("a device's ticket makes a token for %v: %v", other, err)
		}
		if list, err := tokens.List(ctx, "alice"); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
		if err := tokens.Revoke(ctx, "alice", k.ID); !errors.Is(err, ErrNone) {
			t.Errorf("revoked as another: %v", err)
		}
		if list, err := devices.List(ctx, "alice"); err != nil || len(list) != 1 || list[0].For != "LT-0231" {
			t.Errorf("%v, %v", list, err)
		}
		if got, err := devices.Use(ctx, strings.ToLower(k.Code)); err != nil || got.User != "alice" || got.For != "LT-0231" {
			t.Errorf("%+v, %v", got, err)
		}
		k, err = tokens.Make(ctx, "alice", "", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := devices.Use(ctx, k.Code); !errors.Is(err, ErrNone) {
			t.Errorf("a token's ticket enrols a device: %v", err)
		}
		b.Sleep(1100 * time.Millisecond) // on Redis this is real
		if _, err := tokens.Use(ctx, k.Code); !errors.Is(err, ErrNone) {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestOneUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Desk{New(b, ring(t), "x", store.UserTickets), New(b, ring(t), "x", store.UserTickets)}
		k, err := services[0].Make(ctx, "alice", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := services[i%2].Use(ctx, k.Code); err == nil {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("used %d times", won.Load())
		}
	})
}

func TestCodes(t *testing.T) {
	for range 50 {
		code := Draw(length)
		if len(code) != length || strings.Trim(code, alphabet) != "" || Plain(Dashed(code)) != code || Plain(strings.ToLower(" "+Dashed(code))) != code {
			t.Fatalf("%q", code)
		}
	}
	if Plain("oO iIlL") != "001111" || Plain(strings.Repeat("a", maxTyped+1)) != "" {
		t.Error("look-alikes")
	}
}
