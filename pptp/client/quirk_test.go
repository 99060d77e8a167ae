package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/pptp/control"
	"postern/pptp/ppp"
)

// Each client gets a session, from a server that requires encryption and from one
// that only offers it, and is what it claims to be.
func TestQuirks(t *testing.T) {
	for _, q := range Quirks() {
		for _, require := range []bool{true, false} {
			if q == QuirkRouter && require {
				continue
			}
			t.Run(fmt.Sprintf("%s required %v", q, require), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var seen []string
					l := newLab(t, rules{ccp: ppp.CCPConfig{Require: require, Allow: ppp.MPPE128}})
					l.server.rules.control = func(p ppp.Proto, b []byte) { seen = append(seen, describePacket(p, b)) }
					l.server.rules.message = func(e control.Event) { seen = append(seen, describeMessage(e)) }
					cfg := l.config()
					cfg.Quirk, cfg.Computer = q, "VENUS"
					if q == QuirkRouter {
						cfg.MPPE.Use = Optional
					}
					s := l.dial(cfg)
					for _, size := range []int{56, 1372} {
						l.ping(s, size)
					}
					pass(5 * time.Second)
					l.ping(s, 56)
					if send, _ := s.MPPE(); (send == "none") != (q == QuirkRouter) {
						t.Errorf("MPPE %s", send)
					}
					_ = s.Close()
					pass(time.Second)
					l.server.empty()
					l.server.mu.Lock()
					defer l.server.mu.Unlock()
					for _, want := range signs[q] {
						if !slices.ContainsFunc(seen, func(s string) bool { return strings.HasPrefix(s, want) }) {
							t.Errorf("did not see %q", want)
						}
					}
					for other, marks := range signs {
						for _, mark := range marks {
							if other != q && !slices.Contains(signs[q], mark) && slices.Contains(seen, mark) {
								t.Errorf("saw %q, which is %s", mark, other)
							}
						}
					}
					if want := q.habits().firstSeq; l.server.first[0] != want {
						t.Errorf("GRE begins with %d, want %d", l.server.first[0], want)
					}
					if swapped := l.server.swaps > 0; swapped != q.habits().swap {
						t.Errorf("%d GRE packets out of order", l.server.swaps)
					}
					if l.server.dead != 0 {
						t.Errorf("server could not open %d packets", l.server.dead)
					}
					if t.Failed() {
						t.Log(strings.Join(seen, "\n"))
					}
					l.server.mu.Unlock()
					l.close()
					l.server.mu.Lock()
				})
			})
		}
	}
}

// signs are what a client is known by, as describePacket and describeMessage write it.
var signs = map[Quirk][]string{
	QuirkNone: {"start postern postern", "LCP request 1 01 05 07 08", "stop"},
	QuirkWindows10: {
		"start  Microsoft Windows NT", "link info ffffffff ffffffff", "link info ffffffff 0",
		"LCP request 0 01 05 07 08 0d", "LCP request 1 01 05 07 08",
		"LCP identification 2 MSRASV5.20", "LCP identification 3 MSRAS-0-VENUS", "LCP identification 4 \x8d",
		"IPV6CP request 5", "IPCP request 6 03 81 82 83 84", "CCP request 7 01000000", "CCP request 9 01000040",
	},
	QuirkMacOS:      {"start  Apple", "LCP request 1 01 02 05 07 08", "IPV6CP request 1", "ACSCP request 1", "stop"},
	QuirkRouter:     {"LCP request 1 01 02 05 07 08", "CCP request 1 00000000", "CCP request 2 00000000", "stop"},
	QuirkKernelPPPD: {"start local cananian", "LCP request 1 01 02 05 07 08", "LCP echo", "stop"},
}

func describeMessage(e control.Event) string {
	switch e := e.(type) {
	case control.Started:
		return fmt.Sprintf("start %s %s", e.HostName, e.Vendor)
	case control.LinkInfo:
		return fmt.Sprintf("link info %x %x", e.SendACCM, e.RecvACCM)
	case control.Stopped:
		return "stop"
	}
	return fmt.Sprintf("%T", e)
}

func describePacket(p ppp.Proto, b []byte) string {
	switch ppp.Code(b[0]) {
	case ppp.CodeConfigureRequest:
		var opts []string
		for o := b[4:]; len(o) >= 2; o = o[o[1]:] {
			if p == ppp.ProtoCCP {
				opts = append(opts, fmt.Sprintf("%x", o[2:o[1]]))
			} else {
				opts = append(opts, fmt.Sprintf("%02x", o[0]))
			}
		}
		if p == ppp.ProtoIPV6CP || p == ppp.ProtoACSCP {
			opts = nil
		}
		return strings.TrimSpace(fmt.Sprintf("%s request %d %s", p, b[1], strings.Join(opts, " ")))
	case ppp.CodeIdentification:
		return fmt.Sprintf("LCP identification %d %s", b[1], b[8:])
	case ppp.CodeEchoRequest:
		return "LCP echo"
	case ppp.CodeTerminateAck:
		return fmt.Sprintf("%s terminate-ack", p)
	default:
		return fmt.Sprintf("%s code %d id %d", p, b[0], b[1])
	}
}

// pppd answers IPCP with Terminate-Ack while it waits for encryption: here of a
// server that does not hold IPCP back.
func TestPPPDRefusesEarlyIPCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{ccp: ppp.CCPConfig{Allow: ppp.MPPE128}})
		acks := 0
		l.server.rules.control = func(p ppp.Proto, b []byte) {
			if describePacket(p, b) == "IPCP terminate-ack" {
				acks++
			}
		}
		cfg := l.config()
		cfg.Quirk = QuirkKernelPPPD
		s := l.dial(cfg)
		if acks == 0 {
			t.Error("IPCP was answered before CCP was open")
		}
		l.ping(s, 56)
		_ = s.Close()
		l.close()
	})
}

// The router wants no encryption: where it is required that is a clean end.
func TestRouterRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		cfg := l.config()
		cfg.Quirk = QuirkRouter
		if _, err := Dial(t.Context(), cfg); err == nil || errors.Is(err, ErrServerGone) {
			t.Errorf("encryption required of a client that never does: %v", err)
		}
		cfg.MPPE.Use = Optional
		_, err := Dial(t.Context(), cfg)
		var ended *EndedError
		if !errors.As(err, &ended) || ended.How != EndTerminated {
			t.Errorf("got %v", err)
		}
		pass(time.Minute)
		l.server.empty()
		l.close()
	})
}

// Windows closes TCP where others send a Stop-Control-Connection-Request.
func TestWindowsDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		var events []string
		l.server.rules.message = func(e control.Event) { events = append(events, describeMessage(e)) }
		cfg := l.config()
		cfg.Quirk = QuirkWindows10
		var tcp net.Conn
		cfg.DialTCP = func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
			c, err := l.client.Dial(ctx, to)
			tcp = c
			return c, err
		}
		s := l.dial(cfg)
		_ = s.Close()
		if slices.Contains(events, "stop") {
			t.Error("it sent a stop")
		}
		if last := events[len(events)-1]; last != "control.CallClear" {
			t.Errorf("the last message was %s", last)
		}
		if _, err := tcp.Write([]byte{0}); err == nil {
			t.Error("TCP is open still")
		}
		l.close()
	})
}
