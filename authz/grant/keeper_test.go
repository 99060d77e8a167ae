package grant

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
)

// A list that cannot be read is an error and no grant; only all of it can be revoked.
func TestUnreadable(t *testing.T) {
	b := storetest.Embedded(t)
	do(t, b, store.Seq{&store.Put{Key: store.UserGrants("alice"), Value: "{"}})
	here, k, ctx := &Place{Source: home, Remember: day}, New(b), context.Background()
	if w, err := load(t, b, "alice").Use(t0, here, time.Time{}, any); w != nil || err == nil {
		t.Errorf("used %+v, %v", w, err)
	}
	if w, err := load(t, b, "alice").Give(t0, here, "code", ""); w != nil || err == nil {
		t.Errorf("gave %+v, %v", w, err)
	}
	if list, err := k.List(ctx, "alice"); list != nil || err == nil {
		t.Errorf("listed %+v, %v", list, err)
	}
	if ok, err := k.Revoke(ctx, "alice", "x"); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	if n, err := k.RevokeAll(ctx, "alice"); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	give(t, b, "alice", here, "code")
}

func TestKeeper(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		k, ctx := New(b), context.Background()
		var ids []string
		for i := range 3 {
			ids = append(ids, give(t, b, "alice", &Place{Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Remember: day}, "code"))
		}
		if list, err := k.List(ctx, "ALICE"); err != nil || len(list) != 3 || list[0].Decision != "D1" {
			t.Errorf("%+v, %v", list, err)
		}
		for i, want := range []bool{true, false} {
			if ok, err := k.Revoke(ctx, "alice", ids[1]); ok != want || err != nil {
				t.Errorf("%d: %v, %v", i, ok, err)
			}
		}
		if ok, err := k.Revoke(ctx, "nobody", ids[0]); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		for i, want := range []int{2, 0} {
			if n, err := k.RevokeAll(ctx, "alice"); n != want || err != nil {
				t.Errorf("%d: %d, %v", i, n, err)
			}
		}
		if list, err := k.List(ctx, "alice"); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}
