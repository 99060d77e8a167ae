package mfa

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/store/storetest"
)

func TestBeginAndConfirm(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		v := New(b, ring(t), Config{})
		e, handle, err := v.Begin(ctx, noon, "alice", "phone")
		if err != nil {
			t.Fatal(err)
		}
		if list, err := v.Tokens(ctx, "alice"); err != nil || len(list) != 0 {
			t.Errorf("before the first code there are %v, %v", list, err)
		}
		code := codeAt(t, e, noon)
		for _, row := range []struct {
			about, user, handle, code string
			now                       time.Time
			want                      error
		}{
			{"another user", "bob", handle, code, noon, ErrLapsed},
			{"another handle", "alice", handle[:len(handle)-2] + "xx", code, noon, ErrLapsed},
			{"no handle", "alice", "", code, noon, ErrLapsed},
			{"too late", "alice", handle, code, noon.Add(time.Hour), ErrLapsed},
			{"a wrong code", "alice", handle, codeAt(t, e, noon.Add(time.Hour)), noon, ErrCode},
			{"no code", "alice", handle, "", noon, ErrCode},
		} {
			if _, err := v.Confirm(ctx, row.now, row.user, row.handle, row.code); !errors.Is(err, row.want) {
				t.Errorf("%s: %v", row.about, err)
			}
		}
		// Any service confirms what another began.
		v = New(b, ring(t), Config{})
		k, err := v.Confirm(ctx, noon, "Alice", handle, code)
		if err != nil || k.Label != "phone" || k.ID != e.Token.ID {
			t.Fatalf("%+v, %v", k, err)
		}
		// Its answer was lost: the same once more. Another code of it: no.
		if _, err := v.Confirm(ctx, noon, "alice", handle, code); err != nil {
			t.Errorf("asked again: %v", err)
		}
		if list, err := v.Tokens(ctx, "alice"); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
		if r := verify(t, v, noon, "alice", code); r.Outcome != Replayed {
			t.Errorf("the first code opens a login, too: %v", r.Outcome)
		}
		if r := verify(t, v, noon.Add(time.Minute), "alice", codeAt(t, e, noon.Add(time.Minute))); r.Outcome != OK {
			t.Errorf("the next code: %v", r.Outcome)
		}
	})
}

func TestConfirmIsBounded(t *testing.T) {
	b := storetest.Embedded(t)
	v := New(b, ring(t), Config{})
	type begun struct {
		e      *Enrolment
		handle string
	}
	var all []begun
	for range MaxTokens + 3 {
		e, handle, err := v.Begin(ctx, noon, "alice", "")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, begun{e, handle})
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for _, x := range all {
		code := codeAt(t, x.e, noon)
		wg.Go(func() {
			switch _, err := v.Confirm(ctx, noon, "alice", x.handle, code); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrTooMany):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != MaxTokens {
		t.Errorf("%d tokens", won.Load())
	}
	if _, _, err := v.Begin(ctx, noon, "alice", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("begin: %v", err)
	}
}
