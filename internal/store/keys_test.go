package store

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	p := netip.MustParsePrefix("2001:db8::/64")
	for want, k := range map[string]Key{
		"{user:alice}:fail":               UserFailures("Alice"),
		"{user:alice}:pair:2001:db8::/64": PairFailures("alice", p),
		"{user:alice}:good:2001:db8::/64": PairGood("alice", p),
		"{device:lt-1}:records":           DeviceRecords("LT-1"),
		"{user:alice}:devices":            UserDevices("Alice"),
		"{devname:lt-0231}:device":        DeviceName("LT-0231"),
		"{devices:00}:ids":                Devices()[0],
		"{user:corp%7d%3a%7b}:tokens":     UserTokens("corp}:{"),
		"{user:alice}:change:d%3a1":       UserChange("Alice", "d:1"),
		"{user:alice}:keys":               UserKeys("Alice"),
		"{user:alice}:ceremony:x-_1":      UserCeremony("Alice", "x-_1"),
		"{portal:x-_1}:session":           PortalSession("x-_1"),
		"{user:alice}:portal":             PortalName("Alice"),
		"{user:alice}:portal:proved":      PortalUser("Alice"),
		"{src:2001:db8::/64}:portal":      PortalSource(p),
		"{src:2001:db8::/64}:fail":        SourceFailures(p),
		"{src:2001:db8::/64}:users":       SourceUsers(p),
		"{user:alice}:asking":             UserPlaces("Alice"),
		"{user:alice}:asked":              UserAsked("Alice"),
		"{user:alice}:ceiling":            UserCeiling("Alice"),
		"{user:alice}:used":               UserUsed("Alice"),
		"{spray}:users":                   SprayUsers(),
		"{locks}:now":                     Locks(),
		"{locks}:told:user%20alice":       LockTold("user alice"),
		"{node:NAS-1}:live":               NodeLive("NAS-1"),
		"{nodes}:seen":                    Nodes(),
		"{nodes}:known":                   KnownNodes(),
		"{node:NAS-1}:status":             NodeStatus("NAS-1"),
		"{node:NAS-1}:drain":              NodeDrain("NAS-1"),
		"{follow}:turn":                   FollowTurn(),
		"{computers}:turn":                ComputersTurn(),
		"{sess:00}:wishes":                Wishes()[0],
		"{sess:01}:held":                  Held()[1],
		"{sess:15}:due":                   Due()[15],
		"{review}:users":                  Reviews(),
		"{user:alice}:since":              UserSince("Alice"),
		"{sess:02}:at:10.0.0.1":           At(netip.MustParseAddr("::ffff:10.0.0.1"))[2],
		"{sess:03}:on:lt%3a1":             On("LT:1")[3],
		"{review}:what:a%20b":             Review("a b"),
		"{review}:taken:alice":            ReviewTaken("alice"),
		"{user:alice}:grants":             UserGrants("Alice"),
		"{user:alice}:state:d%3a1":        UserState("Alice", "d:1"),
		"{user:alice}:retry:d%3a1":        UserRetry("Alice", "d:1"),
		"{pool:staff}:until":              poolKeys("staff")[0],
		"{schema}:version":                SchemaVersion(),
		"{check:15}:probe":                probes()[15],
		"{schema}:turn":                   schemaTurn(),
		"{user:alice}:ack":                acknowledged(UserLive("Alice")),
		"{policy}:version:0123":           PolicyVersion("0123"),
		"{policy}:service:radiusd%20x":    PolicyService("radiusd x"),
		"{policy}:source:node1":           PolicySource("node1"),
	} {
		if k.String() != want {
			t.Errorf("%s, want %s", k, want)
		}
	}
	for id, ks := range map[string][]Key{"n/1": {SessionWhy("n/1"), SessionAt("n/1", netip.MustParseAddr("10.0.0.1")), SessionOn("n/1", "lt-1")}} {
		for _, k := range ks {
			if k.tag != Session(id).tag {
				t.Errorf("%s is not beside its session", k)
			}
		}
	}
	if Session("n/1").tag != History("n/1").tag || SessionMarks("n/1").tag != History("n/1").tag {
		t.Error("a session and its history are apart")
	}
	if got, want := Wish("n/5f:1", "end n/5f:1").name, ":wish:end%20n/5f%3a1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, k := range []Key{WishesOf("n/1"), Wish("n/1", "end n/1"), HeldAs("n/1"), DueAs("n/1"), DueTaken("n/1")} {
		if k.tag != Session("n/1").tag {
			t.Errorf("a session and %s are apart", k)
		}
	}
	if !slices.Contains(Wishes(), WishesOf("n/1")) || !slices.Contains(Held(), HeldAs("n/1")) || !slices.Contains(Due(), DueAs("n/1")) {
		t.Error("a shard is missing")
	}
	for _, k := range []Key{PolicyKept(), PolicyVersion("x"), PolicyHistory(), PolicyServices(), PolicyService("x"), PolicyTurn(), PolicySource("x")} {
		if k.tag != PolicyState().tag {
			t.Errorf("the state of policies and %s are apart", k)
		}
	}
	found := false
	for _, k := range Histories() {
		found = found || k == History("n/1")
	}
	if !found {
		t.Error("Histories misses one")
	}
	if Session("n/A") == Session("n/a") {
		t.Error("session IDs fold case")
	}
}

// Different names have different keys, and the tag is all of the name.
func FuzzEscape(f *testing.F) {
	f.Add("alice", "alice}")
	f.Add("a%7d", "a}")
	f.Add("a:b", "a%3ab")
	f.Fuzz(func(t *testing.T, a, b string) {
		if (escape(a) == escape(b)) != (a == b) {
			t.Fatalf("%q and %q: %q and %q", a, b, escape(a), escape(b))
		}
		if strings.ContainsAny(escape(a), "{}:\x00 \n") {
			t.Fatalf("%q: %q", a, escape(a))
		}
	})
}
