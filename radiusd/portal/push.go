package portal

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"

	"postern/authz/posture/push"
)

// Pushes is where inventories send what they know: a push.Desk. It is safe for concurrent
// use.
type Pushes interface {
	Enter(authorization string, from netip.Addr) (source string, o push.Outcome)
	Push(ctx context.Context, source string, body []byte) (push.Outcome, *push.Answer)
}

// push takes records of an inventory. Its token is looked at before its body.
func (v *visitor) push() {
	if v.s.pushes == nil {
		v.refuse(refusedPath)
		return
	}
	source, o := v.s.pushes.Enter(v.r.Header.Get("Authorization"), v.from)
	if o != push.Taken {
		v.pushed(source, o, &push.Answer{Error: o.String()})
		return
	}
	kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if err != nil || kind != push.ContentType || v.r.URL.RawQuery != "" {
		v.pushed(source, push.Malformed, &push.Answer{Error: "Content-Type is not " + push.ContentType + ", or there is a query"})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, push.MaxBody))
	if err != nil {
		what := "the body ends too early"
		if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
			what = "too big"
		}
		v.pushed(source, push.Malformed, &push.Answer{Error: what})
		return
	}
	o, a := v.s.pushes.Push(v.r.Context(), source, body)
	v.pushed(source, o, a)
}

// pushed answers an inventory.
func (v *visitor) pushed(source string, o push.Outcome, a *push.Answer) {
	v.s.metrics.pushes.WithLabelValues(o.String()).Inc()
	v.s.log.Info("records pushed", "source_name", source, "outcome", o.String(), "taken", a.Taken, "refused", len(a.Refused), "source", v.from.String())
	b, err := json.Marshal(a)
	if err != nil { // no field of ours can fail
		b = []byte("{}")
	}
	status := http.StatusOK
	switch o {
	case push.Malformed:
		status = http.StatusBadRequest
	case push.BadToken:
		status = http.StatusUnauthorized
		v.w.Header().Set("WWW-Authenticate", "Bearer")
	case push.Rate:
		status = http.StatusTooManyRequests
	case push.Away:
		status = http.StatusServiceUnavailable
	case push.Taken:
	}
	v.send(status, push.ContentType, append(b, '\n'))
}
