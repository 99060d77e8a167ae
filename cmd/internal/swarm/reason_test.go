package swarm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"postern/internal/mschap"
	"postern/pptp/client"
	"postern/pptp/control"
)

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		err   error
		o     Outcome
		why   string
		again bool
	}{
		{&client.RefusedError{Verdict: mschap.Error{Code: 691, Message: "Access denied"}, Text: "E=691 R=0 C=00 V=3 M=x"}, Refused, "691 Access denied", false},
		{&client.RefusedError{Verdict: mschap.Error{Code: 647}}, Refused, "647", false},
		{&client.CallRefusedError{Result: control.CallBusy}, Refused, "call refused: busy", true},
		{&client.CallRefusedError{Result: control.CallDoNotAccept}, Refused, "call refused: ", false},
		{&client.ConnectionRefusedError{}, Refused, "control connection refused: ", true},
		{&client.EndedError{How: client.EndTerminated, Text: "bye\x1b[2J"}, Refused, "ended by the server: link terminated: bye?[2J", true},
		{client.ErrImpostor, Broken, "server does not know the password", false},
		{fmt.Errorf("%w: refused", client.ErrServerGone), Unanswered, "no control connection to the server", true},
		{client.ErrNoPPP, Unanswered, "no PPP answer", true},
		{fmt.Errorf("no session, LCP did not end: %w", context.DeadlineExceeded), Unanswered, "no session in time", true},
		{client.ErrEncryption, Broken, "server will not encrypt", false},
		{errors.New(strings.Repeat("x", 200)), Broken, strings.Repeat("x", 79) + "…", false},
	} {
		o, why, again := failure(c.err)
		if o != c.o || !strings.HasPrefix(why, c.why) || again != c.again {
			t.Errorf("%v: %v, %q, %v", c.err, o, why, again)
		}
	}
}
