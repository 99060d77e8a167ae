package store

import "testing"

func TestJoin(t *testing.T) {
	a1, a2, b := &Get{Key: UserTokens("a")}, &Marks{Key: UserSteps("a")}, &Get{Key: UserTokens("b")}
	clock := &Time{}
	got := Join([]Seq{{a1}, {b}}, nil, []Seq{{}, {clock, a2}}, []Seq{{clock}})
	if len(got) != 3 || len(got[0]) != 3 || len(got[1]) != 1 || len(got[2]) != 1 {
		t.Fatalf("%v", got)
	}
	if got[0][0] != a1 || got[0][1] != clock || got[0][2] != a2 || got[1][0] != b {
		t.Errorf("order: %v", got)
	}
	if Join() != nil {
		t.Error("nothing is something")
	}
}
