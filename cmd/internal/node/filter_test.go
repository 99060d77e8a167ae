package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc3576"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp"
	"postern/pptp/filter"
)

// memory is a packet filter that only remembers what it was told last.
type memory struct {
	mu   sync.Mutex
	last string
	sets int
}

func (m *memory) say(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = s
}

func (m *memory) said() (string, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last, m.sets
}

func (m *memory) Set(c filter.Client) (pptp.Place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last, m.sets = "set "+c.Addr.String(), m.sets+1
	return m, nil
}

func (m *memory) Change(c filter.Client) error {
	m.say(fmt.Sprintf("change %v %s %v", c.Addr, c.Filter, c.Rules))
	return nil
}

func (m *memory) Remove() error { m.say("remove"); return nil }

// Who may not ask changes no filter, by UDP: not from a foreign address, not unsigned,
// not of another time, not twice; and no session that is not there. Every refusal is
// counted, and answered only where the asker is known.
func TestCoAWithFilter(t *testing.T) {
	s := cmdtest.NewSite(t)
	at := cmdtest.FreeUDP(t)
	s.Write(t, "coa", "shared")
	s.Write(t, "gateway.yaml", s.Read(t, "gateway.yaml")+
		fmt.Sprintf("coa: {listen: %q, clients: [{network: 127.0.0.1, secret_file: coa}]}\n", at))
	service := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	service.Await(t, `"msg":"running"`, 1)
	w := newNetwork(t)
	f, reg := new(memory), prometheus.NewRegistry()
	w.deps.Filter = f
	n := start(t, load(t, s), node.Options{Deps: w.deps, Registerer: reg})
	if _, err := w.dial(t, "plant", cmdtest.Password); err != nil {
		t.Fatal(err)
	}
	set, sets := f.said()
	if !strings.HasPrefix(set, "set 203.0.113.") || sets != 1 {
		t.Fatalf("the filter was told %q, %d sets", set, sets)
	}
	session := sessionID(t, s)
	for about, order := range map[string]func(*testing.T, string, string, time.Time) []byte{"coa": lift, "disconnect": order} {
		good := order(t, "shared", session, time.Now())
		cut := good[:len(good)-3]
		forged := bytes.Clone(good)
		forged[len(forged)-1]++
		for reason, tc := range map[string]struct {
			from string
			req  []byte
		}{
			"unknown_client": {"127.0.0.2", good},
			"unsigned":       {"127.0.0.1", unsigned(good, "shared")},
			"authenticator":  {"127.0.0.1", order(t, "guess", session, time.Now())},
			"stale":          {"127.0.0.1", order(t, "shared", session, time.Now().Add(-time.Hour))},
			"length":         {"127.0.0.1", cut},
		} {
			before := counted(t, reg, "postern_dynamic_dropped_total", "udp", reason)
			if p, err := askFrom(t, tc.from, at, "shared", tc.req); err == nil {
				t.Errorf("%s, %s: answered %v", about, reason, p)
			}
			if got := counted(t, reg, "postern_dynamic_dropped_total", "udp", reason); got != before+1 {
				t.Errorf("%s, %s: %v counted", about, reason, got-before)
			}
		}
		if p, err := askFrom(t, "127.0.0.1", at, "shared", forged); err == nil {
			t.Errorf("%s, forged: answered %v", about, p)
		}
		p, err := ask(t, at, "shared", order(t, "shared", "none", time.Now()))
		if err != nil || rfc3576.ErrorCause_Get(p) != rfc3576.ErrorCause_Value_SessionContextNotFound {
			t.Errorf("%s, unknown session: %v, %v", about, p, err)
		}
		if counted(t, reg, "postern_dynamic_requests_total", "udp", about, "session_not_found") != 1 {
			t.Errorf("%s, unknown session: not counted", about)
		}
	}
	if got, _ := f.said(); got != set || n.Sessions() != 1 {
		t.Fatalf("the filter was told %q, %d sessions", got, n.Sessions())
	}

	req := lift(t, "shared", session, time.Now())
	p, err := ask(t, at, "shared", req)
	if err != nil || p.Code != radius.CodeCoAACK {
		t.Fatalf("%v, %v", p, err)
	}
	done, _ := f.said()
	if !strings.HasPrefix(done, "change ") || !strings.HasSuffix(done, " staff [permit in ip from assigned to any]") {
		t.Errorf("the filter was told %q", done)
	}
	f.say("")
	if p, err := ask(t, at, "shared", req); err != nil || p.Code != radius.CodeCoAACK { // the same answer again
		t.Errorf("replayed: %v, %v", p, err)
	}
	if got, _ := f.said(); got != "" || counted(t, reg, "postern_dynamic_repeated_total", "udp") != 1 {
		t.Errorf("replayed: the filter was told %q", got)
	}
}

// sessionID is the Acct-Session-Id of the only session.
func sessionID(t *testing.T, s *cmdtest.Site) string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_, rest, ok := strings.Cut(s.Read(t, "audit.json"), `"verdict":"accept"`)
		if !ok {
			continue
		}
		if _, rest, ok = strings.Cut(rest, `"session":"`); ok {
			id, _, _ := strings.Cut(rest, `"`)
			return id
		}
	}
	t.Fatalf("no session in %s", s.Read(t, "audit.json"))
	return ""
}

const goodFilter = `filter:
  portal: [10.0.0.20:443]
  nat: masquerade
  filters:
    staff:
      - permit in tcp from assigned to @servers 443
  sets:
    servers: [10.20.0.0/16]
`

// What is wrong with a rule is said with its place, before anything is opened.
func TestCheckFilter(t *testing.T) {
	s := cmdtest.NewSite(t)
	gateway := s.Read(t, "gateway.yaml")
	s.Write(t, "gateway.yaml", gateway+goodFilter)
	if err := node.Check(load(t, s)); err != nil {
		t.Error(err)
	}
	s.Write(t, "gateway.yaml", gateway+strings.NewReplacer("@servers", "@severs", "      - permit", "      - allow in ip from assigned to any\n      - permit").Replace(goodFilter))
	cfg := load(t, s)
	line := strings.Count(gateway, "\n") + 6
	for about, err := range map[string]error{"checked": node.Check(cfg), "built": built(t, cfg)} {
		var first *config.Error
		if !errors.As(err, &first) || !strings.Contains(err.Error(), fmt.Sprintf("gateway.yaml:%d:9: filter rule", line)) ||
			!strings.Contains(err.Error(), fmt.Sprintf("gateway.yaml:%d:9: there is no set \"severs\"", line+1)) {
			t.Errorf("%s: %v", about, err)
		}
	}
	s.Write(t, "gateway.yaml", gateway)
	w := newNetwork(t)
	silent := radius.HandlerFunc(nothing)
	n := start(t, load(t, s), node.Options{Deps: w.deps, Local: silent})
	if err := n.Reload(cfg); err == nil {
		t.Error("reloaded with rules that are none")
	}
}

func built(t *testing.T, cfg *config.Gateway) error {
	t.Helper()
	n, err := node.New(cfg, node.Options{Deps: newNetwork(t).deps})
	if err == nil {
		n.Stop()
	}
	return err
}
