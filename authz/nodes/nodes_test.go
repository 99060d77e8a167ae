package nodes

import (
	"errors"
	"testing"
	"time"

	"postern/internal/radius"
	"postern/internal/store/storetest"
)

func TestRegistry(t *testing.T) {
	b := storetest.Embedded(t)
	r, ctx := New(b), t.Context()
	if all, err := r.List(ctx); err != nil || len(all) != 0 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, f := range []func() error{
		func() error { return r.Drain(ctx, "gw1", Drain{}) },
		func() error { return r.Undrain(ctx, "gw1") },
		func() error { _, err := r.Look(ctx, "gw1"); return err },
	} {
		if err := f(); !errors.Is(err, ErrUnknown) {
			t.Errorf("of a node that nobody knows: %v", err)
		}
	}
	if err := r.Began(ctx, "dmz", "foreign", false); err != nil {
		t.Fatal(err)
	}
	if err := r.Began(ctx, "dmz", "gw1", true); err != nil {
		t.Fatal(err)
	}
	state := func(want string) *Node {
		t.Helper()
		all, err := r.List(ctx)
		if err != nil || len(all) != 1 || all[0].Name != "gw1" || all[0].State != want {
			t.Fatalf("%+v, %v; want gw1 %s", all, err, want)
		}
		return all[0]
	}
	began := state("unknown").Began
	if began.IsZero() {
		t.Error("it never began")
	}
	b.Sleep(Interval)
	h := radius.NodeHealth{At: began.Add(Interval + 3*time.Second), Boot: "3f2a", Version: "v1", State: radius.NodeServing, Sessions: 7, Dropped: 9, Stray: 2, Load: 0.5}
	duty, err := r.Heard(ctx, "dmz", "gw1", &h)
	if err != nil || duty != (radius.Duty{State: radius.NodeServing}) {
		t.Errorf("%+v, %v", duty, err)
	}
	n := state("serving")
	if n.Health.Sessions != 7 || n.Health.Dropped != 9 || n.Health.Stray != 2 || n.Health.Version != "v1" || n.Clock.Offset != 3*time.Second || !n.Began.Equal(began) {
		t.Errorf("%+v %+v", n, n.Health)
	}
	if err := r.Drain(ctx, "gw1", Drain{By: "somebody", Rate: 60, Wait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	h.State = radius.NodeDraining
	if duty, err = r.Heard(ctx, "dmz", "gw1", &h); err != nil || duty != (radius.Duty{State: radius.NodeDraining, Rate: 60, Wait: time.Minute}) {
		t.Errorf("%+v, %v", duty, err)
	}
	if n = state("draining"); n.Drain == nil || n.Drain.By != "somebody" || n.Drain.Asked.IsZero() {
		t.Errorf("%+v", n.Drain)
	}
	// The name is this client's for as long as its node reports.
	if _, err := r.Heard(ctx, "other", "gw1", &h); !errors.Is(err, ErrTaken) {
		t.Errorf("another's report: %v", err)
	}
	if err := r.Ended(ctx, "other", "gw1"); !errors.Is(err, ErrTaken) {
		t.Errorf("another's end: %v", err)
	}
	if err := r.Undrain(ctx, "gw1"); err != nil {
		t.Fatal(err)
	}
	if duty, _ = r.Heard(ctx, "dmz", "gw1", &h); duty.State != radius.NodeServing {
		t.Errorf("after undrain: %+v", duty)
	}
	b.Sleep(away)
	state("away")
	if _, err := r.Heard(ctx, "other", "gw1", &h); err != nil {
		t.Errorf("the name of a node that is away: %v", err)
	}
	b.Sleep(Interval)
	if err := r.Ended(ctx, "other", "gw1"); err != nil {
		t.Fatal(err)
	}
	state("stopped")
	b.Sleep(life + time.Minute)
	if all, err := r.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("after its life: %+v, %v", all, err)
	}
}
