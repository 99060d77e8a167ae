// Package forward sends accounting that a service has stored on to other RADIUS
// accounting servers (RFC 2866): a billing system, another site's.
//
// No NAS waits for them. A record goes to a queue of each destination, which keeps it,
// over a restart where it has a directory, until a server of the destination has answered.
// A full queue gives up Interims first, then Starts, then what waits longest, and says how
// many. What is sent twice by a NAS may be sent twice from here.
//
// Sessions that we end ourselves, because they fell silent or their NAS began anew, have a
// Stop of our making.
package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
	"postern/internal/spool"
)

// Destination is one or more servers of which one gets each record.
type Destination struct {
	Name    string
	Servers radius.Exchanger
	Clients []string // RADIUS clients whose records it gets; none: all
	Queue   int      // records that wait; 0: 100,000
	Dir     string   // where Starts and Stops wait; empty: in memory
}

// handover is how many records may be on their way into the queues, ours: writing one to a
// slow disk must not hold up the one who brings it.
const handover = 4096

// Forwarder forwards. It is safe for concurrent use.
type Forwarder struct {
	to      []*destination
	records chan *record
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // run and the spools; Stop waits
}

type destination struct {
	Destination
	spool   *spool.Spool
	waiting atomic.Int64
	taken   prometheus.Counter
	dropped prometheus.Counter
}

type record struct {
	client, session string
	status          rfc2866.AcctStatusType
	at              time.Time
	packet          *radius.Packet
}

// New opens the queues; nothing is sent before Start. reg may be nil.
func New(to []Destination, log *slog.Logger, reg prometheus.Registerer) (*Forwarder, error) {
	f := &Forwarder{records: make(chan *record, handover), log: log.With("layer", "forward")}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	counters := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Subsystem: "accounting_forward", Name: name, Help: help}, []string{"to"})
	}
	taken := counters("records_total", "Accounting records to be forwarded; to is a destination of accounting.forward.")
	dropped := counters("dropped_total", "Of those, the ones that were given up: the queue was full, or they cannot be sent.")
	var errs []error
	for _, one := range to {
		d := &destination{Destination: one, taken: taken.WithLabelValues(one.Name), dropped: dropped.WithLabelValues(one.Name)}
		var err error
		d.spool, err = spool.Open(spool.Config{
			Dir: one.Dir, Max: one.Queue, Log: f.log.With("to", one.Name), Length: &d.waiting, Dropped: d.dropped.Inc,
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("forward accounting to %s: %w", one.Name, err))
		}
		f.to = append(f.to, d)
	}
	if reg != nil {
		errs = append(errs, register(reg, taken, dropped, waiting{f}))
	}
	return f, errors.Join(errs...)
}

func register(reg prometheus.Registerer, all ...prometheus.Collector) error {
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// waiting is how much there is in the queues.
type waiting struct{ f *Forwarder }

var waitingDesc = prometheus.NewDesc("postern_accounting_forward_waiting", "Accounting records that wait for a destination's answer.", []string{"to"}, nil)

// Describe implements prometheus.Collector.
func (waiting) Describe(ch chan<- *prometheus.Desc) { ch <- waitingDesc }

// Collect implements prometheus.Collector.
func (w waiting) Collect(ch chan<- prometheus.Metric) {
	for _, d := range w.f.to {
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(d.waiting.Load()), d.Name)
	}
}

// Start begins to send.
func (f *Forwarder) Start() {
	f.wg.Go(f.run) // Stop waits
	for _, d := range f.to {
		f.wg.Go(func() { d.spool.Run(f.ctx, func() radius.Exchanger { return d.Servers }) }) // Stop waits
	}
}

// patience is how long Stop waits for what is left, ours: of a destination that answers.
const patience = 2 * time.Second

// Stop ends it. What waits is in the directories, or lost and counted.
func (f *Forwarder) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for len(f.records) > 0 && ctx.Err() == nil {
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	for _, d := range f.to {
		d.spool.Drain(ctx)
	}
	f.cancel()
	f.wg.Wait()
	for {
		select {
		case r := <-f.records: // where it was never started, or the disk is slow
			f.queue(r)
			continue
		default:
		}
		break
	}
	for _, d := range f.to {
		if n := d.waiting.Load(); n > 0 {
			f.log.Warn("accounting is not forwarded yet", "to", d.Name, "records", n, "kept", d.Dir != "")
		}
	}
}

// run takes records into the queues.
func (f *Forwarder) run() {
	for {
		select {
		case r := <-f.records:
			f.queue(r)
		case <-f.ctx.Done():
			return
		}
	}
}

func (f *Forwarder) queue(r *record) {
	for _, d := range f.to {
		if d.wants(r.client) {
			d.spool.Add(r.session, r.status, r.packet, r.at)
		}
	}
}

func (d *destination) wants(client string) bool {
	return len(d.Clients) == 0 || slices.Contains(d.Clients, client)
}

// hand gives a record over and never waits.
func (f *Forwarder) hand(r *record) {
	full := false
	select {
	case f.records <- r:
	default:
		full = true
	}
	for _, d := range f.to {
		if !d.wants(r.client) {
			continue
		}
		d.taken.Inc()
		if full {
			d.dropped.Inc()
		}
	}
}

// Forward implements radiusd.Forwarder. The record is sent as it came, but for what is
// between the NAS and us: its signature, and the marks of proxies before us (RFC 2865
// §5.33), which went back with our answer.
func (f *Forwarder) Forward(client string, a *authz.Accounting, p *radius.Packet) {
	q := &radius.Packet{Code: radius.CodeAccountingRequest}
	for _, at := range p.Attributes {
		if at.Type != rfc2869.MessageAuthenticator_Type && at.Type != rfc2865.ProxyState_Type {
			q.Add(at.Type, slices.Clone(at.Attribute))
		}
	}
	if err := identify(q, a.NAS.ID, a.NAS); err != nil {
		f.log.Error("accounting is not forwarded", "client", client, "session", a.SessionID, "error", err)
		return
	}
	f.hand(&record{client, session.ID(a.NAS.Node(), a.SessionID), rfc2866.AcctStatusType_Get(p), a.At(), q})
}

// identify names the NAS where it named itself in no way: to whom we forward, it would be us.
func identify(p *radius.Packet, id string, nas authz.NAS) error {
	if _, ok := p.Lookup(rfc2865.NASIdentifier_Type); ok {
		return nil
	}
	if _, ok := p.Lookup(rfc2865.NASIPAddress_Type); ok {
		return nil
	}
	if nas.Addr.Is4() {
		return rfc2865.NASIPAddress_Set(p, nas.Addr.AsSlice())
	}
	return rfc2865.NASIdentifier_SetString(p, cmp.Or(id, nas.Client))
}

// Told makes the Stop of a session that no NAS has ended.
func (f *Forwarder) Told(t *session.Told) {
	if !t.Own || t.Kind != session.EventStop || t.Repeated {
		return
	}
	p, err := stop(&t.Record)
	if err != nil {
		f.log.Error("the end of a silent session is not forwarded", "session", t.ID, "error", err)
		return
	}
	f.hand(&record{t.Via, t.ID, rfc2866.AcctStatusType_Value_Stop, t.At, p})
}

// stop is an Accounting Stop out of what we know.
func stop(r *session.Record) (*radius.Packet, error) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	u := &r.Usage
	const low = 1<<32 - 1
	err := errors.Join(
		rfc2866.AcctStatusType_Set(p, rfc2866.AcctStatusType_Value_Stop),
		rfc2865.UserName_SetString(p, cut(r.User)),
		rfc2866.AcctSessionID_SetString(p, cut(r.Acct)),
		identify(p, cut(r.NASID), authz.NAS{Addr: r.NASAddr, Client: r.Via}),
		rfc2866.AcctTerminateCause_Set(p, rfc2866.AcctTerminateCause(r.Cause)),
		rfc2869.EventTimestamp_Set(p, r.Ended),
		rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(u.Time/time.Second)),
		rfc2866.AcctInputOctets_Set(p, rfc2866.AcctInputOctets(u.InOctets&low)),
		rfc2866.AcctOutputOctets_Set(p, rfc2866.AcctOutputOctets(u.OutOctets&low)),
		rfc2869.AcctInputGigawords_Set(p, rfc2869.AcctInputGigawords(u.InOctets>>32)),
		rfc2869.AcctOutputGigawords_Set(p, rfc2869.AcctOutputGigawords(u.OutOctets>>32)),
		rfc2866.AcctInputPackets_Set(p, rfc2866.AcctInputPackets(u.InPackets&low)),
		rfc2866.AcctOutputPackets_Set(p, rfc2866.AcctOutputPackets(u.OutPackets&low)))
	if r.NASID != "" && !strings.Contains(r.NASID, `\`) { // as it came; see radiusd's text
		err = errors.Join(err, rfc2865.NASIdentifier_SetString(p, cut(r.NASID)))
	}
	if r.Addr.Is4() {
		err = errors.Join(err, rfc2865.FramedIPAddress_Set(p, r.Addr.AsSlice()))
	}
	if r.Source.IsValid() {
		err = errors.Join(err, rfc2865.CallingStationID_SetString(p, r.Source.String()))
	}
	if r.Decision != "" {
		err = errors.Join(err, rfc2865.Class_AddString(p, cut(r.Decision)))
	}
	return p, err
}

// cut shortens what is longer than an attribute (RFC 2865 §5).
func cut(s string) string { return s[:min(len(s), 253)] }
