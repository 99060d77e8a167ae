package store

import (
	"testing"
	"time"
)

// A clock that is off is found whichever side it is on.
func TestInspectClocks(t *testing.T) {
	for _, row := range []struct {
		clocks []time.Duration
		want   Level
	}{
		{[]time.Duration{0}, Good},
		{[]time.Duration{-500 * time.Millisecond, 400 * time.Millisecond}, Good},
		{[]time.Duration{2 * time.Second}, Warning},
		{[]time.Duration{-2 * time.Second}, Warning},
		{[]time.Duration{0, -700 * time.Millisecond, 800 * time.Millisecond}, Warning},
		{[]time.Duration{-8 * time.Second, 8 * time.Second}, Danger},
		{[]time.Duration{-time.Minute}, Danger},
	} {
		in := &inspector{out: &Inspection{}}
		for _, c := range row.clocks {
			in.servers = append(in.servers, &facts{clock: c})
		}
		in.clocks()
		if got := in.out.Worst(); got != row.want {
			t.Errorf("%v: %v", row.clocks, got)
		}
	}
}

func TestParseClusterNodes(t *testing.T) {
	nodes := parseClusterNodes(`aaa 10.0.0.1:7000@17000,r1.example.org myself,master - 0 1 2 connected 0-5460 5462 [5461->-bbb]
bbb 10.0.0.2:7000@17000 slave,fail? aaa 0 1 2 disconnected
short line
ccc :0@0 master,fail,noaddr - 0 1 3 disconnected 5463-16383 9-3 x-y
`)
	if len(nodes) != 3 {
		t.Fatalf("%d nodes", len(nodes))
	}
	a, b, c := nodes[0], nodes[1], nodes[2]
	if a.addr != "r1.example.org:7000" || a.slots != 5462 || a.moving != 1 || !a.linked || !a.is("myself") || a.is("slave") {
		t.Errorf("%+v", a)
	}
	if b.of != "aaa" || !b.is("fail?") || b.linked || c.slots != 16383-5463+1 || !c.is("noaddr") {
		t.Errorf("%+v, %+v", b, c)
	}
}

// What is slow is judged by the time that a service has.
func TestInspectLatency(t *testing.T) {
	ms := time.Millisecond
	for _, row := range []struct {
		took []time.Duration
		want Level
	}{
		{[]time.Duration{ms, ms, 20 * ms}, Good},
		{[]time.Duration{60 * ms, 60 * ms, ms}, Warning},
		{[]time.Duration{ms, 200 * ms, ms}, Danger},
	} {
		in := &inspector{conf: RedisConfig{Timeout: 500 * ms}, out: &Inspection{}}
		if in.latency("", "a write", row.took); in.out.Worst() != row.want {
			t.Errorf("%v: %v", row.took, in.out.Worst())
		}
	}
}
