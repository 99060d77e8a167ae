package service

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/cmd/internal/cmdtest"
	"postern/integration/freeradius"
	"postern/internal/config"
	"postern/internal/radius"
)

// What a NAS reports is stored, written to the audit log, and sent on to another RADIUS
// server, which is away at first; the NAS has its answer all the same.
func TestAccountingIsForwarded(t *testing.T) {
	t.Setenv("POSTERN_TEST_SECRET", "between the two")
	cfg := site(t)
	acct := cmdtest.FreeUDP(t)
	dir := filepath.Join(t.TempDir(), "forward")
	cfg.Accounting.Forward = []config.Forward{{
		Name: "billing", Timeout: 100 * time.Millisecond, Retries: 1, DeadTime: time.Second, Queue: 1000, Dir: config.File(dir),
		Servers: []config.RadiusServer{{Name: "b1", Transport: config.TransportUDP, Address: config.Remote(acct), Secret: config.Secret{Env: "POSTERN_TEST_SECRET"}}},
	}}
	if err := Check(cfg); err != nil {
		t.Fatal(err)
	}
	_, c := start(t, cfg, Options{Registerer: prometheus.NewRegistry()})
	accept := cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	began := time.Now()
	cmdtest.Account(t, c, accept, "plant", "s1", rfc2866.AcctStatusType_Value_Start)
	cmdtest.Account(t, c, accept, "plant", "s1", rfc2866.AcctStatusType_Value_Stop)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the NAS had to wait %v for who is away", took)
	}
	within(t, "both records wait on the disk", func() bool { left, _ := filepath.Glob(filepath.Join(dir, "*.acct")); return len(left) == 2 })

	there := site(t)
	there.Radius.Acct = config.Listen(acct)
	there.Clients = []config.NASClient{{Name: "us", Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Secret: config.Secret{Env: "POSTERN_TEST_SECRET"}}}
	other, _ := start(t, there, Options{})
	within(t, "the other service has both", func() bool {
		events, err := other.Sessions().History(t.Context(), 10)
		return err == nil && len(events) == 2 && events[1].Acct == "s1" && events[1].Node == "nas1" && events[1].User == "plant"
	})
	within(t, "nothing is left", func() bool { left, _ := filepath.Glob(filepath.Join(dir, "*")); return len(left) == 0 })
	for i, audit := range []config.File{cfg.Audit.File, there.Audit.File} {
		text, err := os.ReadFile(string(audit))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"msg":"session start"`, `"msg":"session stop"`} {
			n := 0
			for line := range strings.Lines(string(text)) { // a slow answer has the record sent again
				if strings.Contains(line, want) && strings.Contains(line, `"repeated":false`) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d: %d lines with %s", i, n, want)
			}
		}
	}
}

// Another program takes what we send on, has it once, and whole: 64-bit counters and why the
// session ended.
func TestAccountingReachesFreeRADIUS(t *testing.T) {
	upstream := freeradius.Start(t, freeradius.Options{Acct: true})
	t.Setenv("POSTERN_TEST_SECRET", upstream.Secret)
	upstream.Kill()
	cfg := site(t)
	dir := filepath.Join(t.TempDir(), "forward")
	cfg.Accounting.Forward = []config.Forward{{
		Name: "billing", Timeout: 200 * time.Millisecond, Retries: 1, DeadTime: time.Second, Queue: 1000, Dir: config.File(dir),
		Servers: []config.RadiusServer{{Name: "b1", Transport: config.TransportUDP, Address: config.Remote(upstream.AcctAddr), Secret: config.Secret{Env: "POSTERN_TEST_SECRET"}}},
	}}
	_, c := start(t, cfg, Options{Registerer: prometheus.NewRegistry()})
	accept := cmdtest.Expect(t, c, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	cmdtest.Account(t, c, accept, "plant", "s1", rfc2866.AcctStatusType_Value_Start)
	cmdtest.Account(t, c, accept, "plant", "s1", rfc2866.AcctStatusType_Value_Stop, func(p *radius.Packet) error {
		return errors.Join(
			rfc2866.AcctInputOctets_Set(p, 7), rfc2869.AcctInputGigawords_Set(p, 5),
			rfc2866.AcctTerminateCause_Set(p, rfc2866.AcctTerminateCause_Value_LostCarrier), radius.AddDisconnectCode(p, 8))
	})
	upstream.Restart(t)
	within(t, "nothing is left to be sent", func() bool { left, _ := filepath.Glob(filepath.Join(dir, "*")); return len(left) == 0 })
	records, err := upstream.Accounted()
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v: %q", len(records), err, records)
	}
	if strings.Contains(records[0], "Acct-Status-Type = Stop") { // Stops may come first
		records[0], records[1] = records[1], records[0]
	}
	for i, want := range [][]string{
		{"Acct-Status-Type = Start", `User-Name = "plant"`, `NAS-Identifier = "nas1"`, `Acct-Session-Id = "s1"`},
		{
			"Acct-Status-Type = Stop", `User-Name = "plant"`, "Acct-Input-Octets = 7", "Acct-Input-Gigawords = 5",
			"Acct-Terminate-Cause = Lost-Carrier", "= 0x0008",
		},
	} {
		for _, line := range want {
			if !strings.Contains(records[i], line) {
				t.Errorf("no %s in\n%s", line, records[i])
			}
		}
	}
}

func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}
