package service

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"postern/internal/store"
)

// moody is a store that answers as it is told.
type moody struct {
	store.Store
	err error
}

func (m *moody) Do(context.Context, ...store.Seq) error { return m.err }

func TestStoreIsMeasured(t *testing.T) {
	under, r := new(moody), prometheus.NewPedanticRegistry()
	st, err := measure(under, r)
	if err != nil {
		t.Fatal(err)
	}
	do := func(ctx context.Context, err error) {
		t.Helper()
		under.err = err
		if got := st.Do(ctx, nil); !errors.Is(got, err) {
			t.Fatalf("%v, not %v", got, err)
		}
	}
	m := st.(*measured)
	is := func(up, failures float64) {
		t.Helper()
		if gotUp, got := testutil.ToFloat64(m.up), testutil.ToFloat64(m.failures); gotUp != up || got != failures {
			t.Errorf("up %v, failures %v; want %v and %v", gotUp, got, up, failures)
		}
	}
	do(t.Context(), nil)
	is(1, 0)
	do(t.Context(), store.ErrUnavailable)
	is(0, 1)
	// A login that was given up says nothing about the store.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	do(ctx, context.Canceled)
	is(0, 1)
	do(t.Context(), nil)
	is(1, 1)
	if n, err := testutil.GatherAndCount(r); err != nil || n != 3 {
		t.Errorf("%d metrics, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	if same, err := measure(under, nil); err != nil || same != store.Store(under) {
		t.Error("nobody wants to know, and it is measured", err)
	}
}
