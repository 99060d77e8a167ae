//go:build integration

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where the lab is while it is tested: a reader's own lab may run beside.
const (
	project = "postern-test"
	network = "10.213"
	host    = network + ".3.80"
)

// steps are what took how long, for TestMain to print: the wall time of CI is part of
// what the lab promises.
var steps []string

func TestMain(m *testing.M) {
	code := m.Run()
	if len(steps) > 0 {
		fmt.Println("the lab, by step:", strings.Join(steps, ", "))
	}
	os.Exit(code)
}

// timed runs a step and notes its time.
func timed(name string, f func()) {
	began := time.Now()
	f()
	steps = append(steps, fmt.Sprintf("%s %.0f s", name, time.Since(began).Seconds()))
}

// cleanTime is what ending the lab and its engine takes at most.
const cleanTime = 2*time.Minute + 2*engineTime

// lab is the composition.
type lab struct {
	ctx        context.Context // ends a while before go test's patience does: what was started is ended then, too
	root       string
	env        []string
	compose    []string // the command
	prometheus string   // host:port
}

func newLab(t *testing.T) *lab {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := t.Context(), func() {}
	if late, ok := t.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, late.Add(-cleanTime))
	}
	t.Cleanup(cancel)
	l := &lab{ctx: ctx, root: root, env: engine(t)}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.prometheus = free.Addr().String()
	_, port, _ := net.SplitHostPort(l.prometheus)
	_ = free.Close()
	l.env = append(l.env, "COMPOSE_PROJECT_NAME="+project, "COMPOSE_PROFILES=none", "LAB_NET="+network, "LAB_PROMETHEUS="+port)
	l.compose = []string{"docker-compose"}
	if c := l.command(l.ctx, "docker", "compose", "version"); c.Run() == nil {
		l.compose = []string{"docker", "compose"}
	} else if _, err := exec.LookPath("docker-compose"); err != nil {
		t.Skip("docker-compose is not installed (integration/apt.sh)")
	}
	return l
}

func (l *lab) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = l.root, l.env
	return cmd
}

// run runs a command that must work and returns what it printed.
func (l *lab) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := l.command(l.ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		text := out.String() + errs.String()
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text[max(0, len(text)-6000):])
	}
	return strings.TrimSpace(out.String())
}

// do runs compose.
func (l *lab) do(t *testing.T, args ...string) string {
	t.Helper()
	return l.run(t, l.compose[0], append(slices.Clone(l.compose[1:]), args...)...)
}

// build makes the images: the domain controller's beside ours, which share a stage and
// so come one after the other.
func (l *lab) build(t *testing.T) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		c := l.command(l.ctx, l.compose[0], append(slices.Clone(l.compose[1:]), "build", "dc")...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("build dc: %v\n%s", err, out[max(0, len(out)-4000):])
		}
	})
	l.do(t, "build", "node1", "service1", "client")
	wg.Wait()
}

// up starts the lab. It and all that it made is gone after the test.
func (l *lab) up(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		down := func(args ...string) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			c := l.command(ctx, l.compose[0], append(slices.Clone(l.compose[1:]), args...)...)
			out, err := c.CombinedOutput()
			if args[0] == "logs" {
				t.Logf("%s", out[max(0, len(out)-12000):])
			} else if err != nil {
				t.Errorf("compose %s: %v\n%s", args[0], err, out)
			}
		}
		if t.Failed() {
			down("ps")
			down("logs", "--tail=30")
		}
		timed("down", func() { down("down", "-v", "-t", "5") })
	})
	l.do(t, "up", "-d")
}

// state is what the engine says of a container, as far as somebody asks.
type state struct {
	State struct {
		Pid     int
		Running bool
		Health  struct{ Status string }
	}
	Config     struct{ User string }
	HostConfig struct {
		Privileged, ReadonlyRootfs bool
		CapAdd, CapDrop            []string
	}
}

func (l *lab) inspect(t *testing.T, service string) *state {
	t.Helper()
	id := l.do(t, "ps", "-q", service)
	var all []*state
	if err := json.Unmarshal([]byte(l.run(t, "docker", "inspect", id)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect %s: %d, %v", service, len(all), err)
	}
	return all[0]
}

// everybody is what stays up, and has a health check.
var everybody = []string{"node1", "node2", "service1", "service2", "redis", "dc", "host", "client", "prometheus"}

// healthy waits until services are.
func (l *lab) healthy(t *testing.T, services ...string) {
	t.Helper()
	late := time.Now().Add(2 * time.Minute)
	for _, s := range services {
		for l.inspect(t, s).State.Health.Status != "healthy" {
			if time.Now().After(late) {
				t.Fatalf("%s is %q", s, l.inspect(t, s).State.Health.Status)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// event is what `postern -o json dial` prints.
type event struct {
	Event, Server, Address, Error string
	Send                          string `json:"mppe_send"`
	Receive                       string `json:"mppe_receive"`
	Took                          int    `json:"took_ms"`
	Pings, Answered               int
}

// inClient is a command in the client's container.
func (l *lab) inClient(ctx context.Context, args ...string) *exec.Cmd {
	return l.command(ctx, l.compose[0], append(append(slices.Clone(l.compose[1:]), "exec", "-T", "client"), args...)...)
}

// dial is `postern dial` there, with everything it printed.
func (l *lab) dial(t *testing.T, args ...string) ([]event, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := l.inClient(ctx, append([]string{"postern", "-o", "json", "dial"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var all []event
	for d := json.NewDecoder(&out); ; {
		var e event
		if d.Decode(&e) != nil {
			return all, errs.String(), err
		}
		all = append(all, e)
	}
}

// as are the flags with which one of the lab's people logs in.
func as(who string, code bool) []string {
	args := []string{"--user", who, "--password-file", "/lab/client/" + who + ".password"}
	if code {
		args = append(args, "--totp-file", "/lab/client/"+who+".totp")
	}
	return args
}

// login expects a session with encryption through which the host answers.
func (l *lab) login(t *testing.T, server string, who []string) event {
	t.Helper()
	all, said, err := l.dial(t, append([]string{server, "--ping", host, "--every", "200ms"}, who...)...)
	if err != nil || len(all) != 2 || all[0].Event != "up" || all[1].Answered == 0 {
		t.Fatalf("%s at %s: %+v, %v\n%s", who[1], server, all, err, said)
	}
	up := all[0]
	if up.Send != "128-bit stateless" || up.Receive != "128-bit stateless" || !strings.HasPrefix(up.Address, network+".1") {
		t.Errorf("%s at %s: %+v", who[1], server, up)
	}
	t.Logf("%s at %s: %s, MPPE %s, in %d ms", who[1], server, up.Address, up.Send, up.Took)
	return up
}

// session is a login that stays and redials.
type session struct {
	cmd    *exec.Cmd
	events chan event // closed when it has ended
}

// stay starts one. It ends with the test, or by itself.
func (l *lab) stay(t *testing.T, args ...string) *session {
	t.Helper()
	cmd := l.inClient(l.ctx, append([]string{"postern", "-o", "json", "dial"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &session{cmd: cmd, events: make(chan event, 16)}
	go func() { // ended by the process's end; t.Context ends that
		defer close(s.events)
		for d := json.NewDecoder(out); ; {
			var e event
			if d.Decode(&e) != nil {
				_ = cmd.Wait()
				return
			}
			s.events <- e
		}
	}()
	return s
}

// next waits for what a session says next.
func (s *session) next(t *testing.T, want string) event {
	t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok || e.Event != want {
			t.Fatalf("%+v, %v; want %s", e, ok, want)
		}
		return e
	case <-time.After(time.Minute):
		t.Fatalf("no %q in a minute", want)
	}
	return event{}
}
