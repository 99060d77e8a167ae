package swarm

import (
	"context"
	"errors"

	"postern/pptp/client"
	"postern/pptp/control"
)

// failure says what a dial's error means: what became of it, why, and whether a
// client may try again. A refused login is not tried again: that is how accounts are
// locked out.
func failure(err error) (o Outcome, why string, again bool) {
	var refused *client.RefusedError
	var call *client.CallRefusedError
	var connection *client.ConnectionRefusedError
	var ended *client.EndedError
	switch {
	case errors.As(err, &refused):
		return Refused, verdict(refused.Verdict), false
	case errors.As(err, &call):
		return Refused, call.Error(), call.Result == control.CallBusy
	case errors.As(err, &connection):
		return Refused, connection.Error(), true
	case errors.As(err, &ended):
		return Refused, plain(ended.Error()), true
	case errors.Is(err, client.ErrImpostor):
		return Broken, client.ErrImpostor.Error(), false
	}
	for _, one := range []error{client.ErrNoPPP, client.ErrSilent, client.ErrServerGone} {
		if errors.Is(err, one) {
			return Unanswered, one.Error(), true
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Unanswered, "no session in time", true
	}
	for _, one := range []error{client.ErrEncryption, client.ErrAuthMethod, client.ErrAddress, client.ErrLink} {
		if errors.Is(err, one) {
			return Broken, one.Error(), false
		}
	}
	return Broken, plain(err.Error()), false
}

// cutBy is why a session ended that we did not end.
func cutBy(err error) string {
	_, why, _ := failure(err)
	return why
}
