package daemon

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want Flags
		err  string
	}{
		{"-config f", Flags{Config: "f"}, ""},
		{"--config f", Flags{Config: "f"}, ""},
		{"-config=f -test", Flags{Config: "f", Test: true}, ""},
		{"--config=f --test", Flags{Config: "f", Test: true}, ""},
		{"-config=f -health", Flags{Config: "f", Health: true}, ""},
		{"-version", Flags{Version: true}, ""},
		{"--version", Flags{Version: true}, ""},
		{"", Flags{}, "-config FILE is missing"},
		{"-test", Flags{}, "-config FILE is missing"},
		{"-config f g", Flags{}, `unexpected argument "g"`},
		{"-nonsense", Flags{}, "flag provided but not defined"},
	} {
		var errs strings.Builder
		got, err := ReadFlags("p", "does it", strings.Fields(c.args), &errs)
		switch {
		case c.err == "" && (err != nil || got != c.want || errs.Len() > 0):
			t.Errorf("%q: %+v, %v, said %q", c.args, got, err, &errs)
		case c.err != "" && (err == nil || !strings.Contains(errs.String(), c.err) || !strings.Contains(errs.String(), "usage: p -config FILE")):
			t.Errorf("%q: %v, said %q", c.args, err, &errs)
		}
	}
	if _, err := ReadFlags("p", "does it", []string{"-h"}, io.Discard); !errors.Is(err, ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

// process is a Process that notes what is done to it.
type process struct {
	mu     sync.Mutex
	calls  []string
	refuse error      // of Start
	end    chan error // what Wait returns
	up     chan struct{}
}

func newProcess() *process { return &process{end: make(chan error, 1), up: make(chan struct{}, 1)} }

func (p *process) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, what)
}

func (p *process) Start() error {
	p.note("start")
	p.up <- struct{}{}
	return p.refuse
}

func (p *process) Stop() {
	p.note("stop")
	p.end <- nil
}

func (p *process) Wait() error { return <-p.end }

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.calls, " ")
}

func kill(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestSignals(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	next := func() string {
		b := make([]byte, 100)
		_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}

	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := newProcess()
		results := []error{errors.New("broken"), nil}
		reload := func() error {
			p.note("reload")
			err := results[0]
			results = results[1:]
			return err
		}
		done := make(chan error, 1)
		go func() { done <- Run(p, reload, slog.New(slog.NewTextHandler(t.Output(), nil))) }()
		var told []string
		told = append(told, next()) // READY
		for range 2 {
			kill(t, syscall.SIGHUP)
			told = append(told, next(), next())
		}
		kill(t, end)
		told = append(told, next())
		if err := <-done; err != nil {
			t.Errorf("%v: %v", end, err)
		}
		if want := "start reload reload stop"; p.said() != want {
			t.Errorf("%v: %s, want %s", end, p.said(), want)
		}
		want := []string{"READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"}
		if !slices.Equal(told, want) {
			t.Errorf("%v: systemd was told %q", end, told)
		}
	}
}

func TestRunEnds(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	p := newProcess()
	p.refuse = errors.New("taken")
	if err := Run(p, nil, log); !errors.Is(err, p.refuse) || p.said() != "start stop" {
		t.Errorf("a process that does not start: %v, %s", err, p.said())
	}
	p = newProcess()
	fatal := errors.New("the socket is gone")
	go func() { <-p.up; p.end <- fatal }()
	if err := Run(p, nil, log); !errors.Is(err, fatal) || p.said() != "start" {
		t.Errorf("a process that ends by itself: %v, %s", err, p.said())
	}
}

func TestDescriptorsAreNotLowered(t *testing.T) {
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	raiseDescriptors(slog.New(slog.DiscardHandler))
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil {
		t.Fatal(err)
	}
	if after.Cur < before.Cur || after.Max < before.Max || after.Cur < min(before.Max, descriptors) {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestVersion(t *testing.T) {
	if v := Version("postern"); !strings.HasPrefix(v, "postern ") || !strings.Contains(v, "go1.") {
		t.Error(v)
	}
}
