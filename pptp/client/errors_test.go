package client

import (
	"errors"
	"strings"
	"testing"

	"postern/internal/mschap"
	"postern/pptp/control"
	"postern/pptp/ppp"
)

func TestErrorTexts(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&RefusedError{Verdict: mschap.Error{Code: 691, Challenge: [16]byte{0xAB}, Message: "no"}, Text: "E=691 C=AB"}, "login refused: 691 no"},
		{&RefusedError{Verdict: mschap.Error{Code: 649}}, "login refused: 649"},
		{&RefusedError{Text: "what?"}, "login refused, for no readable reason"},
		{&ConnectionRefusedError{Result: control.StartNotAuthorized}, "control connection refused: requester not authorized"},
		{&CallRefusedError{control.CallGeneralError, control.ErrorNoResource}, "call refused: general error, no resource"},
		{&CallRefusedError{Result: control.CallBusy}, "call refused: busy"},
		{&EndedError{How: EndTerminated, Text: "idle"}, "ended by the server: link terminated: idle"},
		{&EndedError{How: EndTerminated}, "ended by the server: link terminated"},
		{&EndedError{How: EndDisconnected, Result: control.DisconnectLostCarrier}, "ended by the server: call disconnected: lost carrier"},
		{&EndedError{How: EndStopped, Stop: control.StopShutdown}, "ended by the server: control connection stopped: local shutdown"},
		{&EndedError{How: EndRenegotiated}, "ended by the server: link renegotiated"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// Every reason of a layer is an error that can be told.
func TestLinkErrors(t *testing.T) {
	for r := ppp.ReasonUnknown; r <= ppp.PeerSilent; r++ {
		err := linkError(ppp.ProtoLCP, r)
		var ended *EndedError
		known := errors.As(err, &ended)
		for _, e := range []error{ErrEncryption, ErrAddress, ErrAuthMethod, ErrSilent, ErrNoPPP, ErrLink} {
			known = known || errors.Is(err, e)
		}
		if !known || errors.Is(err, ErrLink) && !strings.Contains(err.Error(), r.String()) {
			t.Errorf("%s: %v", r, err)
		}
	}
	if err := linkError(ppp.ProtoIPCP, ppp.NoAnswer); errors.Is(err, ErrNoPPP) || !errors.Is(err, ErrLink) {
		t.Errorf("IPCP unanswered: %v", err)
	}
}
