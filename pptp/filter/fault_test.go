package filter

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// says makes a kernel answer with an error, or with nil, as often as it is asked.
func (k *kernel) says(answer func([]netlink.Message) error) {
	k.hangUp()
	k.deadline = func(time.Time) error { return nil }
	k.connect = func() (*nftables.Conn, error) {
		return nftables.New(nftables.WithTestDial(func(req []netlink.Message) ([]netlink.Message, error) { return nil, answer(req) }))
	}
}

func (k *kernel) again() {
	k.hangUp()
	k.connect = k.reach
}

// An error changes nothing, neither in the kernel nor in the Table's picture of it.
func TestKernelRefuses(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	leases := crowd(t, table)
	want := ruleset(t)
	fresh := rules(t, "permit in udp from assigned to 10.20.0.5 7")
	other := full(t)
	other.Filters["new"], other.Filters["sets"] = fresh, fresh
	delete(other.Sets, "top")
	other.Sets["more"] = []netip.Prefix{prefix("10.0.0.0/8")}
	for _, refusal := range []error{unix.EBUSY, unix.ENOMEM, unix.EPERM, os.ErrDeadlineExceeded} {
		table.kernel.says(func([]netlink.Message) error { return refusal })
		// The kernel is asked for what is there by another socket and says that all is well.
		for what, err := range map[string]error{
			"Set":       second(table.Set(Client{Addr: nth(7), Filter: "new", Rules: fresh})),
			"Set again": second(table.Set(Client{Addr: alice, Quarantine: true})),
			"take":      second(table.Set(Client{Addr: nth(8), Routes: networks("10.51.0.0/16", "10.62.0.0/20"), Turn: 1})),
			"Change":    table.Change(leases[3], Client{Addr: addr("10.9.0.13")}),
			"Remove":    table.Remove(leases[3]),
			"Apply":     table.Apply(other),
		} {
			if !errors.Is(err, refusal) {
				t.Errorf("%s: %v, want %v", what, err, refusal)
			}
		}
		table.kernel.again()
		if got := ruleset(t); got != want {
			t.Errorf("table\n%s\nwant\n%s", got, want)
		}
		if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 || known(table) != 4 {
			t.Errorf("%v, %d repairs, %d clients", err, table.metric.repairs.Load(), known(table))
		}
	}
	for _, l := range leases {
		if err := table.Remove(l); err != nil {
			t.Error(err)
		}
	}
	if err := table.Apply(other); err != nil {
		t.Error(err)
	}
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 0 || known(table) != 0 {
		t.Errorf("%v, %d repairs, %d clients", err, table.metric.repairs.Load(), known(table))
	}
}

func second[T any](_ T, err error) error { return err }

// The kernel did it and could not say so in time: the table is looked at, and put
// right, for whoever asked was told no.
func TestKernelTooSlow(t *testing.T) {
	newWorld(t)
	table := open(t, full(t))
	want := ruleset(t)
	table.mu.Lock()
	real, err := table.kernel.reach()
	if err != nil {
		t.Fatal(err)
	}
	defer real.CloseLasting()
	r := &request{do: func(x *txn) error {
		x.op(func(*nftables.Conn) error {
			if err := real.SetAddElements(x.named(setQuarantined), []nftables.SetElement{{Key: alice.AsSlice()}}); err != nil {
				t.Error(err)
			}
			return errors.Join(real.Flush(), os.ErrDeadlineExceeded)
		})
		return nil
	}}
	table.run([]*request{r})
	table.mu.Unlock()
	if !errors.Is(r.err, os.ErrDeadlineExceeded) {
		t.Error(r.err)
	}
	waitRepairs(t, table, 1)
	if got := ruleset(t); sorted(got) != sorted(want) {
		t.Errorf("table\n%s\nwant\n%s", got, want)
	}
}

// One bad change among others that wait: only it is refused.
func TestTogether(t *testing.T) {
	newWorld(t)
	cfg := config()
	cfg.Filters = map[string][]Rule{"x": nil}
	table := open(t, cfg)
	var requests []*request
	add := func(c Client) {
		requests = append(requests, &request{do: func(x *txn) error { return table.put(x, &entry{client: c}) }})
	}
	add(Client{Addr: nth(1), Filter: "x"})
	add(Client{Addr: alice, Filter: "x"}) // the kernel's no
	add(Client{Addr: nth(2), Filter: "unknown"})
	add(Client{Addr: nth(3), Filter: "new", Rules: rules(t, "permit in ip from assigned to any")})
	add(Client{Addr: nth(1)}) // after the first
	table.mu.Lock()
	nft(t, "add element ip postern_tun0 client_in { 10.9.0.10 : goto open_in }")
	table.run(requests)
	for i, want := range []error{nil, unix.EBUSY, ErrUnknownFilter, nil, nil} {
		if got := requests[i].err; !requests[i].over || !errors.Is(got, want) && !(want == unix.EBUSY && errors.Is(got, unix.EEXIST)) {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	if known(table) != 2 || table.clients[nth(1)].content != nil {
		t.Errorf("clients %v", table.clients)
	}
	table.mu.Unlock()
	waitRepairs(t, table, 1) // of what nft did
	if err := table.Verify(); err != nil || table.metric.repairs.Load() != 1 {
		t.Errorf("%v, %d repairs", err, table.metric.repairs.Load())
	}
}

// The second half of Apply is refused: the first is undone.
func TestApplyHalfWay(t *testing.T) {
	newWorld(t)
	table := open(t, config())
	l := login(t, table, Client{Addr: alice})
	table.mu.Lock()
	nft(t, "add chain ip postern_tun0 captive { type filter hook forward priority 7 ; }") // where ours is of another kind
	before := ruleset(t)
	cfg := full(t)
	if err := table.apply(cfg); err == nil {
		t.Error("taken")
	}
	if got := withoutCounters(ruleset(t)); got != withoutCounters(before) {
		t.Errorf("table\n%s\nwant\n%s", got, before)
	}
	table.mu.Unlock()
	waitRepairs(t, table, 1)
	if err := errors.Join(table.Apply(cfg), table.Verify(), table.Remove(l)); err != nil {
		t.Error(err)
	}
}

// A run without faults has nothing to say, from Open to Close.
func TestQuiet(t *testing.T) {
	newWorld(t)
	var log bytes.Buffer
	table, err := Open(full(t), slog.New(slog.NewTextHandler(&log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	crowd(t, table)
	if err := errors.Join(table.Apply(full(t)), table.Verify(), table.Close()); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

// Without the right to change tables Open says which it is.
func TestNoRights(t *testing.T) {
	newWorld(t)
	err := withoutRights(t, func() error {
		table, err := Open(full(t), slog.New(slog.DiscardHandler), nil)
		if err == nil {
			err = table.Close()
		}
		return err
	})
	if !errors.Is(err, errRights) || !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

// withoutRights runs f on a thread that has no capabilities.
func withoutRights(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// A repair that fails is tried again, and seen meanwhile.
func TestRepairFails(t *testing.T) {
	newWorld(t)
	var log bytes.Buffer
	table, err := Open(full(t), slog.New(slog.NewTextHandler(&log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	table.mu.Lock()
	table.kernel.says(func([]netlink.Message) error { return unix.ENOMEM })
	nft(t, "flush ruleset")
	if err := table.verify(); !errors.Is(err, unix.ENOMEM) || !table.metric.broken.Load() {
		t.Errorf("%v, broken %v", err, table.metric.broken.Load())
	}
	table.kernel.again()
	table.mu.Unlock()
	waitRepairs(t, table, 1)
	if err := table.Verify(); err != nil || table.metric.broken.Load() {
		t.Errorf("%v, broken %v", err, table.metric.broken.Load())
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"cannot be repaired", "it is repaired", tableGone} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing of %q in the log:\n%s", want, log.String())
		}
	}
}

// A kernel that lacks something: Open says what, and the module it is in.
func TestMissingFeatures(t *testing.T) {
	newWorld(t)
	for name, tt := range map[string]struct {
		refuses string // what it does not know, as it stands in the message
		err     error
		want    []string
	}{
		"conntrack":  {"ct\x00", unix.ENOENT, []string{"connection tracking", "nf_conntrack"}},
		"masquerade": {"masq\x00", unix.EOPNOTSUPP, []string{"masquerading", "nft_masq"}},
		"dnat":       {"nat\x00", unix.ENOENT, []string{"destination NAT", "nft_nat"}},
		"reject":     {"reject\x00", unix.ENOENT, []string{"ICMP refusals", "nft_reject_ipv4"}},
		"rates":      {"limit\x00", unix.ENOENT, []string{"rates", "nft_limit"}},
		"mss":        {"exthdr\x00", unix.ENOENT, []string{"segment sizes", "nft_exthdr"}},
		"nothing":    {"", unix.EOPNOTSUPP, []string{"nf_tables"}},
		"rights":     {"", unix.EPERM, []string{"CAP_NET_ADMIN"}},
	} {
		cfg, err := full(t).complete()
		if err != nil {
			t.Fatal(err)
		}
		k, err := openKernel()
		if err != nil {
			t.Fatal(err)
		}
		k.says(func(req []netlink.Message) error {
			for _, m := range req {
				if bytes.Contains(m.Data, []byte(tt.refuses)) {
					return tt.err
				}
			}
			return nil
		})
		table := &Table{
			cfg: cfg, kernel: k, metric: newMetrics(), table: &nftables.Table{Name: cfg.Table, Family: nftables.TableFamilyIPv4},
			contents: map[string]*content{}, counters: map[string]struct{}{}, sets: map[string]*intervals{},
		}
		err = table.first()
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tt.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: nothing of %q in: %v", name, want, err)
			}
		}
		if err := k.close(); err != nil {
			t.Error(err)
		}
	}
	// On this kernel there is nothing to find.
	table := open(t, full(t))
	table.mu.Lock()
	defer table.mu.Unlock()
	before := nft(t, "-j", "list", "ruleset")
	if err := table.missing(); err != nil {
		t.Error(err)
	}
	if got := nft(t, "-j", "list", "ruleset"); got != before {
		t.Errorf("the ruleset was\n%s\nand is\n%s", before, got)
	}
}
