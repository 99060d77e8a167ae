package mfa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/authz/ticket"
	"postern/internal/store"
	"postern/internal/store/storetest"
)

func newTicket(t *testing.T, v *Verifier, user string) Ticket {
	t.Helper()
	k, err := v.NewTicket(ctx, user, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestTicket(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		v := New(b, ring(t), Config{})
		k := newTicket(t, v, "alice@corp.example")
		if text := fmt.Sprintf("%v %+v %#v", k, k, &k); strings.Contains(text, k.Code) {
			t.Error("it prints its code")
		}
		if list, err := v.Tickets(ctx, "alice@corp.example"); err != nil || len(list) != 1 || list[0].ID != k.ID || list[0].Code != "" {
			t.Errorf("%+v %v", list, err)
		}
		for _, code := range []string{"", k.ID, k.Code[:len(k.Code)-1] + "?", strings.Repeat("A", 24), k.Code + "A", "{ticket}", strings.Repeat("A", 5000)} {
			if user, err := v.UseTicket(ctx, code); !errors.Is(err, ErrTicket) {
				t.Errorf("%q is %q's, %v", code, user, err)
			}
		}
		other := newTicket(t, v, "bob")
		if user, err := v.UseTicket(ctx, k.Code[:9]+other.Code[9:]); !errors.Is(err, ErrTicket) {
			t.Errorf("half of one and half of another is %q's, %v", user, err)
		}
		if user, err := v.UseTicket(ctx, " "+strings.ToLower(k.Code)+" "); err != nil || user != "alice@corp.example" {
			t.Errorf("%q, %v", user, err)
		}
		if _, err := v.UseTicket(ctx, k.Code); !errors.Is(err, ErrTicket) {
			t.Errorf("a second time: %v", err)
		}
		if list, err := v.Tickets(ctx, "alice@corp.example"); err != nil || len(list) != 0 {
			t.Errorf("%+v %v", list, err)
		}
		if err := v.RevokeTicket(ctx, "alice", other.ID); !errors.Is(err, ErrTicket) {
			t.Errorf("another user's revoked: %v", err)
		}
		if err := v.RevokeTicket(ctx, "bob", other.ID); err != nil {
			t.Error(err)
		}
		if _, err := v.UseTicket(ctx, other.Code); !errors.Is(err, ErrTicket) {
			t.Errorf("a revoked one: %v", err)
		}
		for range ticket.Max {
			newTicket(t, v, "carol")
		}
		if _, err := v.NewTicket(ctx, "carol", time.Hour); !errors.Is(err, ErrTooMany) {
			t.Errorf("one too many: %v", err)
		}
		for _, life := range []time.Duration{0, -time.Second, ticket.MaxLife + time.Second} {
			if _, err := v.NewTicket(ctx, "dave", life); err == nil {
				t.Errorf("good for %v", life)
			}
		}
	})
}

func TestOneTicketOneUse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		services := []*Verifier{New(b, ring(t), Config{}), New(b, ring(t), Config{})}
		k := newTicket(t, services[0], "alice")
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := services[i%2].UseTicket(ctx, k.Code); err == nil {
					won.Add(1)
				} else if !errors.Is(err, ErrTicket) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("used %d times", won.Load())
		}
	})
}

func TestUsers(t *testing.T) {
	v := New(storetest.Embedded(t), ring(t), Config{})
	want := make(map[string]bool)
	for i := range 40 {
		user := fmt.Sprintf("user%d", i)
		want[user] = true
		switch i % 3 {
		case 0:
			newTicket(t, v, user)
		case 1:
			enroll(t, v, user)
		default:
			if _, err := v.NewRecovery(ctx, user); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := v.Users(ctx, func(user string) error {
		if !want[user] {
			t.Errorf("%q, or twice", user)
		}
		delete(want, user)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; missing %v", err, want)
	}
	// Whoever is made something new while all are walked through takes nobody out of sight.
	var shard []string
	for i := 0; len(shard) < 600; i++ {
		if user := fmt.Sprintf("somebody%d", i); store.EnrolledAs(user) == store.Enrolled()[3] {
			shard = append(shard, user)
		}
	}
	b := storetest.Embedded(t)
	v = New(b, ring(t), Config{})
	again := func(users []string) {
		t.Helper()
		for some := range slices.Chunk(users, 50) {
			var seq store.Seq
			for _, user := range some {
				seq = append(seq, store.Known(user)...)
			}
			if err := b.Do(ctx, seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	again(shard)
	b.Sleep(time.Second)
	seen := make(map[string]bool)
	err = v.Users(ctx, func(user string) error {
		if seen[user] = true; len(seen) == 500 {
			again(shard[:100])
		}
		return nil
	})
	if err != nil || len(seen) != len(shard) {
		t.Errorf("%d of %d seen, %v", len(seen), len(shard), err)
	}
	stop := errors.New("stop")
	if err := v.Users(ctx, func(string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
