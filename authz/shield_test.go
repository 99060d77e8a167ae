package authz

import (
	"postern/authz/lockout"
)

func (w *world) Event(e *lockout.Event) { NewAudit(w.audit).Event(e) }

func (silentAudit) Event(*lockout.Event) {}
