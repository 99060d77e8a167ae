package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"postern/authz/activation"
	"postern/internal/store"
)

// errNoPolicy: the service has not read yet which policy is in force. It is the store that
// says so.
var errNoPolicy = fmt.Errorf("%w: no policy has been read yet", store.ErrUnavailable)

// havePolicy refuses, silently, while no policy is in force here: another service may have
// one.
func (d *Decider) havePolicy(_ context.Context, l *login) (Reason, bool) {
	if l.ruling != nil {
		return Permitted, false
	}
	l.rec.Err = errors.Join(l.rec.Err, errNoPolicy)
	return StoreDown, true
}

// PolicyChanged implements Audit.
func (a auditLog) PolicyChanged(e *activation.Event) {
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "policy", e.Attrs()...)
}
