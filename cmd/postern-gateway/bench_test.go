package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/internal/cmdtest"
	"postern/pptp/client"
)

// BenchmarkSessions dials b.N clients over real sockets, each with a control
// connection of its own, and leaves them idle. It reports what a login costs the
// service and the node in CPU, and what an idle session takes of the node's memory:
//
//	go test -run '^$' -bench Sessions -benchtime 2000x ./cmd/postern-gateway
func BenchmarkSessions(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("a TUN device and raw sockets need root")
	}
	s := cmdtest.NewSite(b)
	s.Edit(b, "policy.yaml", "[203.0.113.10-203.0.113.99]", "[198.18.0.0/16]")
	s.Edit(b, "gateway.yaml", "timers: {drain: 2s}", "timers: {drain: 2s}, routes: [198.18.0.0/16], "+
		"limits: {half_open: 4096, per_source: 65535, per_source_rate: 60000, max_calls: 65535}")
	for _, name := range []string{"gateway.yaml", "radiusd.yaml"} {
		s.Edit(b, name, "level: debug", "level: warn")
	}
	s.Write(b, "gateway.yaml", s.Read(b, "gateway.yaml")+"metrics: {listen: \""+cmdtest.FreeTCP(b)+"\"}\n")
	service := cmdtest.Start(b, "postern-radiusd", "-config", s.Radiusd)
	gateway := cmdtest.Start(b, program, "-config", s.Gateway)
	local := netip.MustParseAddr("127.0.0.2")
	host, err := client.NewHost(local, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer host.Close()
	dial := func() (*client.Session, error) {
		return host.Dial(b.Context(), client.Config{
			Server: netip.MustParseAddrPort(s.PPTP), User: "plant", Password: cmdtest.Password, EchoInterval: -1,
		})
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = dial(); err == nil {
			break // node and service are up, and warm
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}

	const atOnce = 32
	began, cpu := time.Now(), [2]time.Duration{used(b, service.PID()), used(b, gateway.PID())}
	memory := resident(b, gateway.PID())
	b.ResetTimer()
	var wg sync.WaitGroup
	next := make(chan struct{})
	failed := make(chan error, atOnce)
	for range atOnce {
		wg.Go(func() {
			for range next {
				if _, err := dial(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for range b.N {
		select {
		case next <- struct{}{}:
		case err := <-failed:
			b.Fatal(err)
		}
	}
	close(next)
	wg.Wait()
	b.StopTimer()
	took := time.Since(began)
	n := float64(b.N)
	b.ReportMetric(n/took.Seconds(), "logins/s")
	b.ReportMetric(n/(used(b, service.PID())-cpu[0]).Seconds(), "logins/service-core-s")
	b.ReportMetric(n/(used(b, gateway.PID())-cpu[1]).Seconds(), "logins/node-core-s")
	time.Sleep(2 * time.Second) // a collection or two, and memory given back
	b.ReportMetric(float64(resident(b, gateway.PID())-memory)/n, "node-B/session")
}

// used is a process's CPU time, in ticks of 10 ms; see proc(5).
func used(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		b.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// resident is a process's resident memory in octets.
func resident(b *testing.B, pid int) int {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}
