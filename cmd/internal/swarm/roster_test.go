package swarm

import (
	"testing"
	"time"
)

func users(t *testing.T, names ...string) []User {
	t.Helper()
	var all []User
	for _, n := range names {
		u, err := parseUser([]string{n, "password of " + n, map[bool]string{true: testSecret}[n[0] == 't']})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

func take(t *testing.T, r *Roster, now time.Time, want string) *Turn {
	t.Helper()
	turn, at := r.Take(now)
	got := ""
	if turn != nil {
		got = turn.User.Name
	}
	if got != want {
		t.Fatalf("%q is next (or at %v), want %q", got, at, want)
	}
	return turn
}

func TestRosterTakesTurns(t *testing.T) {
	now := time.Unix(1_700_000_010, 0)
	r := NewRoster(users(t, "a", "b", "c"), "+")
	a, b := take(t, r, now, "a"), take(t, r, now, "b")
	freed := r.Freed()
	r.Done(b)
	select {
	case <-freed:
	default:
		t.Error("nobody was told")
	}
	c := take(t, r, now, "c")
	take(t, r, now, "b")
	if turn, at := r.Take(now); turn != nil || !at.IsZero() {
		t.Errorf("%v at %v, and all are in use", turn, at)
	}
	r.Done(c)
	r.Done(a)
	take(t, r, now, "c")
	if name, at := r.Typed(a, now); name != "a" || !at.IsZero() {
		t.Errorf("a types %q, or at %v", name, at)
	}
}

// A code is typed once, and who has used theirs comes after everybody else.
func TestRosterCodes(t *testing.T) {
	now := time.Unix(1_700_000_010, 0) // a step begins
	r := NewRoster(users(t, "t1", "b"), "+")
	t1 := take(t, r, now, "t1")
	first, _ := r.Typed(t1, now)
	if len(first) != len("t1+123456") {
		t.Fatalf("typed %q", first)
	}
	if again, at := r.Typed(t1, now.Add(time.Second)); again != "" || !at.Equal(now.Add(30*time.Second)) {
		t.Errorf("typed %q again, or at %v", again, at)
	}
	r.Done(t1)
	b := take(t, r, now, "b")
	if turn, at := r.Take(now); turn != nil || !at.Equal(now.Add(30*time.Second)) {
		t.Errorf("%v, or at %v", turn, at)
	}
	r.Done(b)
	take(t, r, now, "b")
	now = now.Add(30 * time.Second)
	t1 = take(t, r, now, "t1")
	if second, _ := r.Typed(t1, now); second == "" || second == first {
		t.Errorf("typed %q, then %q", first, second)
	}
}
