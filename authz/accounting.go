package authz

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"postern/authz/session"
)

// AcctStatus is what an accounting record tells. The zero value tells nothing and
// is not stored.
//
// Handled in: acctStatusNames, Bookkeeper.Account; radiusd maps packets to it.
type AcctStatus uint8

const (
	AcctUnknown AcctStatus = iota
	AcctStart              // a session has begun
	AcctInterim            // it goes on
	AcctStop               // it has ended
	AcctOn                 // the NAS has begun: it has no session from before
	AcctOff                // the NAS is about to end, with all its sessions
)

var acctStatusNames = [...]string{
	AcctUnknown: "unknown", AcctStart: "start", AcctInterim: "interim", AcctStop: "stop", AcctOn: "on", AcctOff: "off",
}

// String returns the status as metrics and logs spell it.
func (s AcctStatus) String() string {
	if int(s) < len(acctStatusNames) {
		return acctStatusNames[s]
	}
	return acctStatusNames[AcctUnknown]
}

// Accounting is one record about a session, or with AcctOn and AcctOff about all of
// a NAS. Its fields are the NAS' claims; what it did not say is zero.
type Accounting struct {
	Received  time.Time
	Status    AcctStatus
	NAS       NAS
	SessionID string     // Acct-Session-Id, unique per NAS
	User      string     // User-Name
	Source    netip.Addr // the client's own address
	Addr      netip.Addr // Framed-IP-Address
	Decision  string     // Class: the decision ID of the login's Grant

	Usage      session.Usage // 64 bits, Gigawords folded in
	Width      session.Width // of its octets
	Cause      session.Cause // of a Stop: Acct-Terminate-Cause
	Disconnect session.Disconnect

	Event time.Time     // Event-Timestamp, by the NAS' clock
	Delay time.Duration // Acct-Delay-Time: for how long the NAS has tried
}

// maxEventAge is how late a record may come for its Event-Timestamp to be believed:
// a spool that waited for a week, and not a clock that began in 1970.
const maxEventAge = 8 * 24 * time.Hour

// At is when it happened: as long ago as the NAS has tried to tell us, which needs
// no clock of its own, else when its clock says, else now.
func (a *Accounting) At() time.Time {
	switch {
	case a.Delay > 0 && a.Delay <= maxEventAge:
		return a.Received.Add(-a.Delay)
	case !a.Event.IsZero() && !a.Event.After(a.Received) && a.Received.Sub(a.Event) <= maxEventAge:
		return a.Event
	default:
		return a.Received
	}
}

// Bookkeeper stores accounting records in the registry of sessions. It is safe for
// concurrent use.
type Bookkeeper struct {
	sessions *session.Registry
	log      *slog.Logger
	strays   Strays
}

// Strays has a NAS end a session that is nobody's any more: it was silent for so long that
// it was written off, and lives. It must not block, and may be told of one many times.
type Strays interface {
	Stray(rec session.Record, detail string)
}

// NewBookkeeper makes a Bookkeeper. Without strays (nil) such sessions go on.
func NewBookkeeper(r *session.Registry, strays Strays, log *slog.Logger) *Bookkeeper {
	return &Bookkeeper{r, log.With("layer", "accounting"), strays}
}

var errNothingToStore = errors.New("store accounting: a record that tells nothing")

// Account stores a record. Repetitions and records out of order do no harm. Only
// after nil may the NAS be told that it need not send the record again.
func (b *Bookkeeper) Account(ctx context.Context, a *Accounting) error {
	if a.Status == AcctOn || a.Status == AcctOff {
		n, err := b.sessions.NodeRestarted(ctx, a.NAS.Node(), a.At())
		if err == nil {
			b.log.Info("nas restarted", "nas", a.NAS.Node(), "status", a.Status.String(), "sessions_ended", n)
		}
		return err
	}
	rep := session.Report{
		Node: a.NAS.Node(), Acct: a.SessionID, At: a.At(), Usage: a.Usage, Width: a.Width, Cause: a.Cause, Disconnect: a.Disconnect,
		Via: a.NAS.Client, User: a.User, Source: a.Source, Addr: a.Addr, Decision: a.Decision,
	}
	var out session.Outcome
	var err error
	switch a.Status {
	case AcctStart:
		out, err = b.sessions.Start(ctx, rep)
	case AcctInterim:
		out, err = b.sessions.Touch(ctx, rep)
	case AcctStop:
		out, err = b.sessions.Stop(ctx, rep)
	case AcctUnknown, AcctOn, AcctOff:
		err = errNothingToStore
	}
	if err != nil {
		return err
	}
	if len(out.Going) > 0 {
		// They lost their places to newer ones. Whoever let those in has said so already,
		// unless it ended in between.
		if _, err := b.sessions.Dismiss(ctx, out.Going, replacing(a.Received, "its place is taken", "")); err != nil {
			return err // the NAS reports again
		}
	}
	switch {
	case b.strays == nil:
	case out.AddressLost:
		b.strays.Stray(out.Record, "its address "+addrText(out.Record.Addr)+" is another session's by now")
	case out.Stray:
		b.strays.Stray(out.Record, "it reports after its end was written down")
	}
	return nil
}
