package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"postern/pptp/control"
)

const (
	// readSize takes any message in one read.
	readSize = 512
	// writeWait bounds a write to a server that does not read.
	writeWait = 5 * time.Second
)

// line is one control connection. run is its only reader. Nothing that is called with
// a lock held writes to TCP: what is to be sent is queued for a writer that lives as
// long as there is something.
type line struct {
	host *Host
	tcp  net.Conn
	q    *habits
	cfg  control.Config
	log  *slog.Logger

	writer sync.WaitGroup

	mu      sync.Mutex
	m       *control.Conn
	calls   []*Session // with a call, or waiting for the connection to start
	serial  uint16
	up      bool
	quit    bool  // we are done with it: close when all is written
	over    bool  // nothing is sent any more
	why     error // it ended for
	out     []byte
	writing bool
}

// newLine starts a control connection on a TCP connection.
func (h *Host) newLine(tcp net.Conn, c *Config) (*line, error) {
	q := c.Quirk.habits()
	l := &line{host: h, tcp: tcp, q: q, log: c.Log, cfg: control.Config{
		HostName: q.host, Vendor: q.vendor, MaxCalls: 1 << 10,
	}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	h.lines[l] = struct{}{}
	m, st := control.NewClient(&l.cfg, time.Now())
	l.m = m
	l.out = st.Send  // run sends it
	h.work.Go(l.run) // Host.Close waits
	return l, nil
}

// run reads until the connection is over. The calls on it go with it.
func (l *line) run() {
	buf := make([]byte, readSize)
	for l.step(buf) {
	}
	l.mu.Lock()
	l.over = true
	left, why := l.calls, l.why
	l.calls = nil
	l.mu.Unlock()
	l.writer.Wait() // bounded by writeWait
	_ = l.tcp.Close()
	if why == nil {
		why = ErrServerGone
	}
	for _, s := range left {
		s.lineOver(why)
	}
	l.host.lineOver(l)
}

// step waits for input or the deadline and does what follows from it. It is false
// when the connection is over.
func (l *line) step(buf []byte) bool {
	l.mu.Lock()
	l.kick(control.Step{})
	quit := l.quit
	l.mu.Unlock()
	if quit {
		return false
	}
	k, err := l.tcp.Read(buf)
	now := time.Now()
	l.mu.Lock()
	var st control.Step
	if k > 0 {
		var bad error
		if st, bad = l.m.Input(now, buf[:k]); bad != nil {
			l.why = fmt.Errorf("%w: %w", ErrServerGone, bad)
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
		if k == 0 {
			st = l.m.Timeout(now)
		}
	}
	if err != nil && l.why == nil {
		l.why = fmt.Errorf("%w: %w", ErrServerGone, err)
	}
	if st.Close && l.why == nil {
		l.why = fmt.Errorf("%w: %s", ErrServerGone, st.Why)
	}
	l.kick(st)
	l.mu.Unlock()
	for _, e := range st.Events {
		l.event(now, e)
	}
	return err == nil && !st.Close
}

// kick queues what a machine sends and moves the reader's deadline. mu is held.
func (l *line) kick(st control.Step) {
	l.out = append(l.out, st.Send...)
	if len(l.out) > 0 && !l.writing && !l.over {
		l.writing = true
		l.writer.Go(l.flush) // run waits
	}
	at := l.m.Deadline()
	if l.quit {
		at = time.Unix(1, 0) // the reader returns at once
	}
	_ = l.tcp.SetReadDeadline(at) // a closed connection tells its reader
}

// flush writes what is queued.
func (l *line) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.out) > 0 {
		b := l.out
		l.out = nil
		l.mu.Unlock()
		err := l.tcp.SetWriteDeadline(time.Now().Add(writeWait))
		if err == nil {
			_, err = l.tcp.Write(b)
		}
		l.mu.Lock()
		if err != nil {
			if l.why == nil {
				l.why = fmt.Errorf("%w: %w", ErrServerGone, err)
			}
			_ = l.tcp.Close() // the reader notices
			break
		}
	}
	l.writing = false
}

// event does what a message asks for.
func (l *line) event(now time.Time, e control.Event) {
	switch e := e.(type) {
	case control.Started:
		l.log.Debug("control connection started", "layer", "control", "host", e.HostName, "vendor", e.Vendor)
		l.started(now)
	case control.Refused:
		l.end(&ConnectionRefusedError{e.Result, e.Error})
	case control.CallReply:
		if s := l.find(e.CallID); s != nil {
			s.callReply(now, e)
		}
	case control.CallDisconnect:
		if s := l.take(e.CallID); s != nil {
			s.disconnected(now, &EndedError{How: EndDisconnected, Result: e.Result, Code: e.Error})
		}
	case control.Stopped:
		l.end(&EndedError{How: EndStopped, Stop: e.Reason})
	case control.Ignored:
		l.log.Debug("control message ignored", "layer", "control", "type", e.Type.String(), "why", e.Why.String())
	case control.CallRequest, control.IncomingCall, control.CallClear, control.LinkInfo, control.WANError:
	}
}

// end notes why the connection will be over.
func (l *line) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = why
}

// started places the calls that waited.
func (l *line) started(now time.Time) {
	l.mu.Lock()
	l.up = true
	events := make([]control.Event, 0, 1)
	for _, s := range l.calls {
		events = append(events, l.place(now, s)...)
	}
	l.mu.Unlock()
	for _, e := range events { // calls that cannot even be asked for
		l.event(now, e)
	}
}

// add enters a session and places its call as soon as there is a connection.
func (l *line) add(s *Session) {
	now := time.Now()
	var events []control.Event
	l.mu.Lock()
	gone, why := l.over || l.quit, l.why
	if !gone {
		l.calls = append(l.calls, s)
		if l.up {
			events = l.place(now, s)
		}
	}
	l.mu.Unlock()
	if gone {
		if why == nil {
			why = ErrServerGone
		}
		s.lineOver(why)
	}
	for _, e := range events {
		l.event(now, e)
	}
}

// place asks for a call. mu is held.
func (l *line) place(now time.Time, s *Session) []control.Event {
	var st control.Step
	if l.q.maxBPS != 0 {
		st = l.m.CallWith(now, control.OutgoingCallRequest{
			CallID: s.callID, Serial: l.serial, MinBPS: l.q.minBPS, MaxBPS: l.q.maxBPS,
			Bearer: control.BearerAny, Framing: control.FramingAny, Window: control.DefaultWindow,
		})
	} else {
		st = l.m.Call(now, s.callID, l.serial, 0)
	}
	l.serial++
	l.kick(st)
	return st.Events
}

func (l *line) find(callID uint16) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.calls {
		if s.callID == callID {
			return s
		}
	}
	return nil
}

// take removes a call; nil: it was not there.
func (l *line) take(callID uint16) *Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.calls {
		if s.callID == callID {
			l.calls = slices.Delete(l.calls, i, i+1)
			return s
		}
	}
	return nil
}

// linkInfo sends a Set-Link-Info.
func (l *line) linkInfo(now time.Time, s *Session, send, recv uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kick(l.m.SetLinkInfo(now, s.callID, send, recv))
}

// clear asks the server to end a call, and says whether it will answer.
func (l *line) clear(now time.Time, s *Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.m.Clear(now, s.callID)
	l.kick(st)
	return len(st.Send) > 0 && !l.over
}

// drop is a session's last word to its line, which stops with its last call.
func (l *line) drop(now time.Time, s *Session) {
	l.take(s.callID)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) > 0 || l.over {
		return
	}
	if l.q.noStop {
		l.quit = true
		l.kick(control.Step{})
		return
	}
	st := l.m.Stop(now, control.StopGeneral)
	l.quit = l.quit || st.Close // it had not even started
	l.kick(st)
}
