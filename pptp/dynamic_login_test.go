package pptp_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"postern/internal/radius"
	"postern/pptp/client"
)

// ask sends a request of RFC 5176 to the node, signed and dated.
func (w *world) ask(code radius.Code, session string, fill ...func(*radius.Packet) error) *radius.Packet {
	w.t.Helper()
	secret := radius.NewSecret("in process")
	p := &radius.Packet{Code: code, Secret: secret.Bytes()}
	err := errors.Join(rfc2866.AcctSessionID_SetString(p, session), rfc2869.EventTimestamp_Set(p, time.Now()))
	for _, f := range fill {
		err = errors.Join(err, f(p))
	}
	req, err2 := radius.EncodeRequest(p)
	if err = errors.Join(err, err2); err != nil {
		w.t.Fatal(err)
	}
	reply, err := radius.ParseReply(w.node.Dynamic().ServeRADIUS(w.t.Context(), req, radius.Peer{Transport: radius.InProcess, Secret: secret}), req, secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply
}

// started is the Acct-Session-Id of the only session that the service knows of.
func (w *world) started() string {
	w.t.Helper()
	synctest.Wait()
	w.service.mu.Lock()
	defer w.service.mu.Unlock()
	ids := slices.Collect(maps.Keys(w.service.starts))
	if len(ids) != 1 {
		w.t.Fatalf("sessions %q", ids)
	}
	return ids[0]
}

// A service ends a session: the client reads why, the call is taken down, accounting
// says Admin-Reset.
func TestDisconnectRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		if err != nil {
			t.Fatal(err)
		}
		id := w.started()
		if p := w.ask(radius.CodeDisconnectRequest, "nobody's"); p.Code != radius.CodeDisconnectNAK ||
			rfc3576.ErrorCause_Get(p) != rfc3576.ErrorCause_Value_SessionContextNotFound || w.node.Sessions() != 1 {
			t.Errorf("%v %v, %d sessions", p.Code, rfc3576.ErrorCause_Get(p), w.node.Sessions())
		}
		began := time.Now()
		p := w.ask(radius.CodeDisconnectRequest, id, func(p *radius.Packet) error {
			return errors.Join(rfc2865.NASIdentifier_SetString(p, "test"), rfc2865.UserName_SetString(p, "alice"),
				rfc2865.FramedIPAddress_Set(p, s.Local().AsSlice()), rfc2865.ReplyMessage_SetString(p, "Account disabled"))
		})
		if p.Code != radius.CodeDisconnectACK {
			t.Fatalf("%v %v", p.Code, rfc3576.ErrorCause_Get(p))
		}
		<-s.Done()
		var ended *client.EndedError
		if !errors.As(s.Err(), &ended) || ended.How != client.EndTerminated || ended.Text != "Account disabled" {
			t.Errorf("the client was told %v", s.Err())
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("after %v", d)
		}
		time.Sleep(5 * time.Second)
		w.service.mu.Lock()
		got := w.service.stops[id]
		w.service.mu.Unlock()
		if got.count != 1 || got.cause != rfc2866.AcctTerminateCause_Value_AdminReset || w.node.Sessions() != 0 {
			t.Errorf("stop %+v, %d sessions", got, w.node.Sessions())
		}
		if p := w.ask(radius.CodeDisconnectRequest, id); rfc3576.ErrorCause_Get(p) != rfc3576.ErrorCause_Value_SessionContextNotFound {
			t.Errorf("gone, and %v", p.Code)
		}
	})
}

// A service moves a session's end, and lets it idle for longer meanwhile.
func TestCoARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		if err != nil {
			t.Fatal(err)
		}
		id := w.started()
		time.Sleep(5 * time.Minute) // of ten that it may be idle
		p := w.ask(radius.CodeCoARequest, id, func(p *radius.Packet) error {
			return errors.Join(rfc2865.IdleTimeout_Set(p, 3000), rfc2865.SessionTimeout_Set(p, 1200))
		})
		if p.Code != radius.CodeCoAACK {
			t.Fatalf("%v %v", p.Code, rfc3576.ErrorCause_Get(p))
		}
		began := time.Now()
		<-s.Done()
		if d := time.Since(began); d < 20*time.Minute || d > 21*time.Minute {
			t.Errorf("ended after %v, not 20 minutes", d)
		}
		time.Sleep(5 * time.Second)
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if got := w.service.stops[id]; got.cause != rfc2866.AcctTerminateCause_Value_SessionTimeout {
			t.Errorf("%+v", got)
		}
	})
}
