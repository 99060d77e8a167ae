package store

import (
	"strings"
	"testing"
)

// A reply that is not what the script sends is an error, never a result.
func TestDecode(t *testing.T) {
	get := func() Seq { return Seq{&Get{Key: Nodes()}, &Members{Key: Nodes()}} }
	for _, v := range [][]any{
		nil, {}, {int64(1)}, {[]any{}}, {[]any{int64(1)}}, {[]any{int64(1), int64(1), nil}},
		{[]any{int64(1), "x", "y"}}, {[]any{int64(1), int64(1), "v"}, []any{int64(1), int64(1), "m", "late"}},
		{[]any{int64(1), int64(1), "v"}, []any{int64(1), int64(0)}, []any{int64(1)}},
	} {
		if err := decode(get(), v); err == nil {
			t.Errorf("%v: no error", v)
		}
	}
	s := get()
	if err := decode(s, []any{[]any{int64(1), int64(1), "v"}, []any{int64(1), int64(1), "m", "1700000000000"}}); err != nil || !s.OK() {
		t.Errorf("%v, %v", err, s.OK())
	}
	if err := decode(get(), []any{[]any{int64(1), int64(1), "v"}}); err != nil {
		t.Errorf("a lost guard: %v", err)
	}
}

// The names in script.lua and in the operations are the same.
func TestScriptNames(t *testing.T) {
	for _, op := range []Op{
		&Get{}, &Put{}, &Once{}, &Swap{}, &Delete{}, &Time{}, &Publish{}, &Count{}, &Tally{}, &Uncount{},
		&Advance{}, &Marks{}, &Enter{}, &Leave{}, &Members{}, &Append{}, &Read{}, &Lease{}, &Renew{}, &Release{}, &Leased{},
	} {
		if !strings.Contains(scriptSource, "function op."+op.name()+"(") {
			t.Errorf("script.lua has no op.%s", op.name())
		}
	}
}

func TestEventID(t *testing.T) {
	for _, bad := range []string{"", "-", "1", "1-", "-1", "x-1", "1-x", "1-2-3", "18446744073709551616-0"} {
		if id, err := ParseEventID(bad); err == nil {
			t.Errorf("%q: %v", bad, id)
		}
	}
	if !(EventID{1, 2}).Less(EventID{1, 3}) || (EventID{2, 0}).Less(EventID{1, 9}) {
		t.Error("order")
	}
}

func FuzzParseEventID(f *testing.F) {
	for _, s := range []string{"1700000000000-0", "0-1", "18446744073709551615-18446744073709551615", "1", "+1-+2", "01-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseEventID(s)
		if err != nil {
			return
		}
		if again, err := ParseEventID(id.String()); err != nil || again != id {
			t.Fatalf("%q: %v, again %v, %v", s, id, again, err)
		}
	})
}
