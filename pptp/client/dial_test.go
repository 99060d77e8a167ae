package client

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mschap"
	"postern/internal/simnet"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/ppp"
)

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		start := time.Now()
		s := l.dial(l.config())
		if d := time.Since(start); d > 300*time.Millisecond {
			t.Errorf("a dial at 20 ms round trip took %v", d)
		}
		if s.Local() != netip.MustParseAddr("10.0.0.101") || s.Peer() != serverInner {
			t.Errorf("addresses %v, %v", s.Local(), s.Peer())
		}
		if d := s.DNS(); len(d) != 2 || d[0] != dns1 || d[1] != dns2 {
			t.Errorf("DNS %v", d)
		}
		if send, recv := s.MPPE(); send != "128-bit stateless" || recv != send {
			t.Errorf("MPPE %q, %q", send, recv)
		}
		if own, peer := s.CallIDs(); own == 0 || peer != 101 || s.MTU() != DefaultMTU {
			t.Errorf("calls %d, %d, MTU %d", own, peer, s.MTU())
		}
		for _, size := range []int{0, 56, 1000, 1372} {
			l.ping(s, size)
		}
		if s.Err() != nil {
			t.Errorf("error of a session that is up: %v", s.Err())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !errors.Is(s.Err(), ErrClosed) {
			t.Errorf("error after Close: %v", s.Err())
		}
		l.server.empty()
		l.close()
	})
}

// Who may log in: the name as typed, with its domain; the hash in the password's place.
func TestLogin(t *testing.T) {
	hash := mschap.NTHash(users["alice"])
	for _, tt := range []struct {
		name, user, password string
		hash                 *[16]byte
		ok                   bool
	}{
		{"password", "alice", "clientPass", nil, true},
		{"hash", "alice", "", &hash, true},
		{"domain and umlauts", `CORP\bob`, "Äpfel und Birnen", nil, true},
		{"wrong password", "alice", "clientpass", nil, false},
		{"no password", "alice", "", nil, false},
		{"wrong domain", `corp\bob`, "Äpfel und Birnen", nil, false},
		{"nobody", "mallory", "x", nil, false},
	} {
		for _, retry := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, rules{retry: retry, text: "Access denied"})
					cfg := l.config()
					cfg.User, cfg.Password, cfg.NTHash = tt.user, tt.password, tt.hash
					start := time.Now()
					s, err := Dial(t.Context(), cfg)
					if d := time.Since(start); d > time.Second {
						t.Errorf("took %v", d)
					}
					if tt.ok {
						if err != nil {
							t.Fatal(err)
						}
						l.ping(s, 56)
						_ = s.Close()
					} else {
						var refused *RefusedError
						if !errors.As(err, &refused) || refused.Verdict.Code != 691 || refused.Verdict.Retry != retry {
							t.Errorf("%v, want a refusal 691", err)
						} else if err.Error() != "login refused: 691 Access denied" {
							t.Errorf("reads %q", err)
						}
					}
					pass(time.Second) // the stop of the control connection
					l.server.empty()
					l.close()
				})
			})
		}
	}
}

// What each end wants of the encryption, and what comes of it.
func TestEncryption(t *testing.T) {
	const s128, s40, s56 = ppp.MPPE128, ppp.MPPE40, ppp.MPPE56
	for _, tt := range []struct {
		name   string
		server ppp.CCPConfig
		client MPPE
		want   string // of both directions; or the error
	}{
		{"128", ppp.CCPConfig{Require: true, Allow: s128}, MPPE{}, "128-bit stateless"},
		{"strongest of all", ppp.CCPConfig{Require: true, Allow: s128 | s56 | s40}, MPPE{Strengths: s128 | s56 | s40}, "128-bit stateless"},
		{"56", ppp.CCPConfig{Require: true, Allow: s128 | s56}, MPPE{Strengths: s56}, "56-bit stateless"},
		{"40", ppp.CCPConfig{Require: true, Allow: s40}, MPPE{Strengths: s128 | s40}, "40-bit stateless"},
		{"both ask for stateful", ppp.CCPConfig{Require: true, Allow: s128, AskStateful: true}, MPPE{Stateful: StatefulAsk}, "128-bit stateful"},
		{"stateful not insisted on", ppp.CCPConfig{Require: true, Allow: s128, AskStateful: true}, MPPE{Stateful: StatefulAccept}, "128-bit stateless"},
		{"stateful refused by us", ppp.CCPConfig{Require: true, Allow: s128, AskStateful: true}, MPPE{}, "128-bit stateless"},
		{"stateful refused by the server", ppp.CCPConfig{Require: true, Allow: s128}, MPPE{Stateful: StatefulAsk}, "128-bit stateless"},
		{"optional here", ppp.CCPConfig{Require: true, Allow: s128}, MPPE{Use: Optional}, "128-bit stateless"},
		{"optional there", ppp.CCPConfig{Allow: s128}, MPPE{}, "128-bit stateless"},
		{"optional both", ppp.CCPConfig{Allow: s128}, MPPE{Use: Optional}, "128-bit stateless"},
		{"off here, optional there", ppp.CCPConfig{Allow: s128}, MPPE{Use: Off}, "none"},
		{"off there, optional here", ppp.CCPConfig{Quirk: ppp.QuirkNoBits}, MPPE{Use: Optional}, "none"},
		{"off there", ppp.CCPConfig{Quirk: ppp.QuirkNoBits}, MPPE{}, ErrEncryption.Error()},
		{"off here", ppp.CCPConfig{Require: true, Allow: s128}, MPPE{Use: Off}, "ended by the server: link terminated: "},
		{"nothing in common", ppp.CCPConfig{Require: true, Allow: s128}, MPPE{Strengths: s40}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, rules{ccp: tt.server})
				cfg := l.config()
				cfg.MPPE = tt.client
				s, err := Dial(t.Context(), cfg)
				if err != nil {
					if !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(tt.want, "bit") || tt.want == "none" {
						t.Errorf("%v, want %s", err, tt.want)
					}
				} else {
					if send, recv := s.MPPE(); send != tt.want || recv != tt.want {
						t.Errorf("MPPE %s and %s, want %s", send, recv, tt.want)
					}
					for range 300 { // past a change of a stateful key
						l.ping(s, 56)
					}
					if clear := l.server.clear > 0; clear != (tt.want == "none") {
						t.Errorf("server got %d packets in the clear", l.server.clear)
					}
					if st := s.Stats(); st.Cleartext+st.Undecryptable+uint64(l.server.dead) != 0 {
						t.Errorf("lost packets: %+v, server %d", st, l.server.dead)
					}
					_ = s.Close()
				}
				pass(5 * time.Second)
				l.server.empty()
				l.close()
			})
		})
	}
}

// Every way not to get a session has its error, soon.
func TestDialFails(t *testing.T) {
	var start *ConnectionRefusedError
	var call *CallRefusedError
	var ended *EndedError // the server may be the first to lose patience
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for _, tt := range []struct {
		name  string
		rules rules
		link  simnet.Faults // from the server
		match func(error) bool
		soon  time.Duration
	}{
		{"connection refused", rules{start: control.StartNotAuthorized}, simnet.Faults{},
			func(err error) bool { return errors.As(err, &start) && start.Result == control.StartNotAuthorized }, time.Second},
		{"call refused", rules{call: control.CallBusy}, simnet.Faults{},
			func(err error) bool { return errors.As(err, &call) && call.Result == control.CallBusy }, time.Second},
		{"impostor", rules{impostor: true}, simnet.Faults{}, is(ErrImpostor), time.Second},
		{"no authentication", rules{demand: []ppp.Auth{}}, simnet.Faults{}, is(ErrAuthMethod), time.Second},
		{"GRE blocked there", rules{deaf: true}, simnet.Faults{},
			func(err error) bool { return errors.Is(err, ErrNoPPP) || errors.As(err, &ended) }, 30 * time.Second},
		{"GRE blocked here", rules{}, simnet.Faults{Loss: 1},
			func(err error) bool { return errors.Is(err, ErrNoPPP) || errors.As(err, &ended) }, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, tt.rules)
				l.net.SetFaults(serverAddr, clientAddr, tt.link)
				begin := time.Now()
				cfg := l.config()
				cfg.Timeout = time.Minute
				_, err := Dial(t.Context(), cfg)
				if !tt.match(err) {
					t.Errorf("got %v", err)
				}
				if d := time.Since(begin); d > tt.soon {
					t.Errorf("took %v", d)
				}
				pass(30 * time.Second)
				l.close()
			})
		})
	}
}

func TestDialNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		l.close()
		if _, err := Dial(t.Context(), l.config()); !errors.Is(err, ErrServerGone) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v", err)
		}
	})
}

// ctx and Timeout end a dial at once wherever it stands, and nothing stays behind.
func TestDialEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := 0
		for after := time.Duration(0); after < 300*time.Millisecond; after += 5 * time.Millisecond {
			l := newLab(t, rules{})
			ctx, cancel := context.WithTimeout(t.Context(), after)
			begin := time.Now()
			s, err := Dial(ctx, l.config())
			cancel()
			switch {
			case err == nil:
				whole++
				_ = s.Close()
			case !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("after %v: %v", after, err)
			case time.Since(begin) != after:
				t.Errorf("after %v: took %v", after, time.Since(begin))
			}
			pass(10 * time.Second)
			l.server.empty()
			l.close()
		}
		if whole == 0 || whole > 50 {
			t.Errorf("%d of 60 dials were complete", whole)
		}
		l := newLab(t, rules{})
		l.net.SetFaults(clientAddr, serverAddr, simnet.Faults{Down: true})
		cfg := l.config()
		cfg.Timeout = 3 * time.Second
		begin := time.Now()
		if _, err := Dial(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != cfg.Timeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		l.close()
	})
}

// GRE overtakes TCP: what comes before the Outgoing-Call-Reply is kept.
func TestEarlyPPP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{early: true, timer: ppp.Timer{First: time.Hour}})
		begin := time.Now()
		s := l.dial(l.config())
		if d := time.Since(begin); d > time.Second {
			t.Errorf("took %v: the server's first packet was not kept", d)
		}
		l.ping(s, 56)
		_ = s.Close()
		l.close()
	})
}

// Many sessions on one socket, two Hosts on one address, several calls on one line.
func TestHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		listen := func(netip.Addr) (gre.Conn, error) { return gretest.Listen(l.client), nil }
		var hosts [2]*Host
		var all []*Session
		for i := range hosts {
			h, err := NewHost(clientAddr, listen)
			if err != nil {
				t.Fatal(err)
			}
			hosts[i] = h
			for range 10 {
				s, err := h.Dial(t.Context(), l.config())
				if err != nil {
					t.Fatal(err)
				}
				beside, err := s.DialCall(t.Context(), Config{User: "alice", Password: users["alice"]})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, s, beside)
			}
		}
		if n := len(l.server.conns); n != 20 {
			t.Errorf("%d control connections, want 20", n)
		}
		seen := map[netip.Addr]bool{}
		for _, s := range all {
			l.ping(s, 500)
			if seen[s.Local()] {
				t.Errorf("address %v twice", s.Local())
			}
			seen[s.Local()] = true
		}
		if st := hosts[0].Stats(); st.UnknownCall == 0 || st.WrongPeer+st.Malformed != 0 {
			t.Errorf("a Host that hears the other's packets: %+v", st)
		}
		for i, s := range all {
			if i%2 == 0 {
				_ = s.Close()
				l.ping(all[i+1], 56) // its line lives on
				_ = all[i+1].Close()
			}
		}
		l.server.empty()
		for _, h := range hosts {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if _, err := h.Dial(t.Context(), l.config()); !errors.Is(err, ErrClosed) {
				t.Errorf("dial on a closed Host: %v", err)
			}
		}
		l.close()
	})
}

// A Host made by Dial ends with the last call on it, not with the first.
func TestDialCallBesideDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		first := l.dial(l.config())
		second, err := first.DialCall(t.Context(), l.config())
		if err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		l.ping(second, 56)
		if _, err := first.DialCall(t.Context(), Config{}); err == nil {
			t.Error("dialled without a user")
		}
		_ = second.Close()
		if _, err := first.DialCall(t.Context(), l.config()); !errors.Is(err, ErrClosed) {
			t.Errorf("a call where nothing is left: %v", err)
		}
		l.server.empty()
		l.close()
	})
}

// Packets of strangers touch nothing.
func TestHostStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, rules{})
		s := l.dial(l.config())
		own, _ := s.CallIDs()
		packet := func(id uint16) []byte {
			buf := make([]byte, gre.MaxHeader+4)
			return buf[gre.Prepend(buf, gre.MaxHeader, id, true, 1<<20, false, 0):]
		}
		stranger := gretest.Listen(l.net.Host(netip.MustParseAddr("203.0.113.9")))
		for _, b := range [][]byte{packet(own), packet(own + 1), {1, 2, 3}} {
			if _, err := stranger.WriteBatch([]gre.Message{{Buf: b, N: len(b), Addr: clientAddr}}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Second)
		if st := s.Host().Stats(); st != (HostStats{Malformed: 1, UnknownCall: 1, WrongPeer: 1}) {
			t.Errorf("%+v", st)
		}
		l.ping(s, 56)
		_ = stranger.Close()
		_ = s.Close()
		l.close()
	})
}
