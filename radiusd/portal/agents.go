package portal

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"postern/authz/posture/agent"
	"postern/authz/ticket"
	"postern/internal/report"
)

// Agents is where devices are enrolled and report: an agent.Desk. It is safe for
// concurrent use.
type Agents interface {
	Enrol(ctx context.Context, body []byte, from agent.Origin) (agent.Outcome, error)
	Report(ctx context.Context, body []byte, from agent.Origin) (agent.Outcome, error)

	// NewTicket lets a user enrol one: agent.ErrTooMany.
	NewTicket(ctx context.Context, user, device string, life time.Duration) (ticket.Ticket, error)
	// Devices are a user's.
	Devices(ctx context.Context, user string) ([]agent.Device, error)
	// Revoke takes one of his away: agent.ErrNoDevice.
	Revoke(ctx context.Context, id, user string) (agent.Device, error)
}

// agentUse is what a device asks for. The zero value is not used.
//
// Handled in: agentUseNames; its names label a metric.
type agentUse uint8

const (
	agentNone agentUse = iota
	agentEnrols
	agentReports
)

var agentUseNames = [...]string{agentNone: "none", agentEnrols: "enrol", agentReports: "report"}

func (u agentUse) String() string {
	if int(u) < len(agentUseNames) {
		return agentUseNames[u]
	}
	return agentUseNames[agentNone]
}

// agentEnrol and agentReport answer devices: no cookie, no form, and JSON both ways. A
// browser cannot be made to send such a request from another page, and who sends one
// proves itself in it.
func (v *visitor) agentEnrol()  { v.answerAgent(agentEnrols, Agents.Enrol) }
func (v *visitor) agentReport() { v.answerAgent(agentReports, Agents.Report) }

func (v *visitor) answerAgent(use agentUse, ask func(Agents, context.Context, []byte, agent.Origin) (agent.Outcome, error)) {
	if v.s.agents == nil {
		v.refuse(refusedPath)
		return
	}
	kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if err != nil || kind != report.ContentType || v.r.URL.RawQuery != "" {
		v.s.metrics.agents.WithLabelValues(use.String(), report.Malformed.String()).Inc()
		v.refuse(refusedForm)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, report.MaxRequest))
	if err != nil {
		v.s.metrics.agents.WithLabelValues(use.String(), report.Malformed.String()).Inc()
		if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
			v.refuse(refusedBody)
			return
		}
		v.refuse(refusedForm)
		return
	}
	out, err := ask(v.s.agents, v.r.Context(), body, agent.Origin{Addr: v.from, Inside: v.s.backend.VPN(v.from)})
	if err != nil {
		v.s.metrics.agents.WithLabelValues(use.String(), report.Away.String()).Inc()
		v.away(err)
		return
	}
	v.s.metrics.agents.WithLabelValues(use.String(), out.Refused.String()).Inc()
	words := []any{"use", use.String(), "device", out.Device, "user", out.User, "source", v.from.String()}
	switch {
	case out.Refused != report.Taken:
		v.s.log.Info("device refused", append(words, "reason", out.Refused.String(), "detail", out.Detail)...)
	case use == agentEnrols:
		v.s.log.Info("device enrolled", words...)
	default:
		v.s.log.Debug("device reported", words...)
	}
	reply := out.Reply()
	if use == agentEnrols && out.Refused == report.Taken {
		reply.User = out.User
	}
	v.reply(agentStatus(out.Refused), reply)
}

// agentStatus is for whatever looks at status codes on the way; devices read the reply.
func agentStatus(r report.Refusal) int {
	switch r {
	case report.Taken:
		return http.StatusOK
	case report.Malformed, report.Unsupported:
		return http.StatusBadRequest
	case report.Rate:
		return http.StatusTooManyRequests
	case report.Full, report.Replayed, report.Order:
		return http.StatusConflict
	case report.Away:
		return http.StatusServiceUnavailable
	case report.Ticket, report.Proof, report.UnknownKey, report.Signature, report.Revoked, report.Clock:
		return http.StatusForbidden
	default:
		return http.StatusForbidden
	}
}

// reply answers a device.
func (v *visitor) reply(status int, r *report.Reply) {
	v.send(status, report.ContentType, r.Append(nil))
}

// problemForAgent is a problem of the portal's own in a device's words.
func (v *visitor) problemForAgent(status int) {
	r := &report.Reply{Refused: report.Malformed, Time: v.s.now().UTC().Truncate(time.Second)}
	switch {
	case status == http.StatusTooManyRequests:
		r.Refused = report.Rate
	case status >= http.StatusInternalServerError:
		r.Refused = report.Away
	}
	v.reply(status, r)
}

// computerTicketLife is how long the ticket is good that a user makes for himself: he
// sits before the computer.
const computerTicketLife = 15 * time.Minute

type computersData struct {
	Computers []agent.Device
	Enrol     bool   // he may add one himself
	Full      bool   // he has as many as are possible
	Ticket    string // that was made just now
	Until     time.Time
	URL       string
}

// computersPage lists the visitor's computers, and shows the ticket for another.
func (v *visitor) computersPage() { v.showComputers() }

func (v *visitor) showComputers(wrong ...mistake) {
	if v.s.agents == nil {
		v.refuse(refusedPath)
		return
	}
	all, err := v.s.agents.Devices(v.r.Context(), v.session.User)
	if err != nil {
		v.away(err)
		return
	}
	d := computersData{Computers: all, Enrol: v.set.SelfEnrol, Full: len(all) >= agent.MaxDevices, URL: v.set.URL}
	if t := time.Unix(v.session.TicketUntil, 0); v.session.Ticket != "" && v.s.now().Before(t) && v.set.SelfEnrol {
		d.Ticket, d.Until = v.session.Ticket, t
	}
	v.show(statusOf(wrong), "computers", &page{Title: v.lang.text("computer.title"), Back: "/computers", Wide: true, Wrong: wrong, Data: d})
}

// mayChangeComputers has answered where it is false: the proof is not fresh, or there is
// nothing here.
func (v *visitor) mayChangeComputers() bool {
	switch {
	case v.s.agents == nil:
		v.refuse(refusedPath)
		return false
	case !v.fresh():
		v.redirect("/again?to=computers")
		return false
	}
	return v.admitted(v.s.admitUser(v.r.Context(), v.session.User))
}

// computerTicket makes a ticket for a computer of the visitor's.
func (v *visitor) computerTicket() {
	if !v.mayChangeComputers() {
		return
	}
	if !v.set.SelfEnrol {
		v.redirect("/computers")
		return
	}
	t, err := v.s.agents.NewTicket(v.r.Context(), v.session.User, "", computerTicketLife)
	switch {
	case errors.Is(err, agent.ErrTooMany):
		v.showComputers(v.wrong("", "wrong.too_many_tickets"))
		return
	case err != nil:
		v.away(err)
		return
	}
	v.s.log.Info("ticket for a device made", "user", v.session.User, "source", v.from.String())
	v.session.Ticket, v.session.TicketUntil = t.Code, v.s.now().Add(computerTicketLife).Unix()
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	v.redirect("/computers")
}

// computerRemove takes a computer away.
func (v *visitor) computerRemove() {
	if !v.mayChangeComputers() {
		return
	}
	id := strings.TrimSpace(v.field("id"))
	notice := "computer.removed"
	_, err := v.s.agents.Revoke(v.r.Context(), id, v.session.User)
	if errors.Is(err, agent.ErrNoDevice) {
		notice, err = "computer.gone", nil
	}
	if err == nil {
		v.s.log.Info("device revoked by its user", "user", v.session.User, "device", id, "source", v.from.String())
		err = v.notice(notice)
	}
	if err != nil {
		v.away(err)
		return
	}
	v.redirect("/computers")
}

// HasComputers is for the security page: there are agents.
func (p *page) HasComputers() bool { return p.v.s.agents != nil }
