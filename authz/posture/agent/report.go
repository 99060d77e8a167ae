package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"postern/authz/posture"
	"postern/authz/ticket"
	"postern/internal/report"
	"postern/internal/store"
	"postern/policy"
)

// Report takes a report. An error means that it cannot be told now.
func (d *Desk) Report(ctx context.Context, body []byte, from Origin) (Outcome, error) {
	e, r, out := read(body)
	clock := &store.Time{}
	var get *store.Get
	var more []store.Seq
	if out.Refused == report.Taken {
		get = &store.Get{Key: store.DeviceKey(r.Device)}
		more = append(more, store.Seq{get})
	}
	ok, err := d.admit(ctx, from, clock, more...)
	out.Time = clock.Now
	switch {
	case err != nil:
		return out, err
	case !ok:
		out.Refused = report.Rate
		return out, nil
	case out.Refused != report.Taken:
		return out, nil
	}
	x, raw, known := kept(get)
	out.Refused, out.Detail = d.judge(x, known, e, r, clock.Now)
	if out.Device = r.Device; known {
		out.Device, out.User = x.ID, x.User // as it was enrolled, whatever its letters' case
	}
	if out.Refused != report.Taken {
		return out, nil
	}
	if out.Refused, err = d.commit(ctx, &x, raw, r, clock.Now); err != nil || out.Refused != report.Taken {
		return out, err
	}
	_, err = d.records.Put(ctx, record(&x, r, from, clock.Now))
	return out, err
}

// read reads the envelope and what is in it. Nothing of it is proved yet.
func read(body []byte) (*report.Envelope, *report.Report, Outcome) {
	e, err := report.ParseEnvelope(body)
	var r *report.Report
	if err == nil {
		r, err = report.Parse(e.Report)
	}
	switch {
	case errors.Is(err, report.ErrVersion):
		return nil, nil, Outcome{Refused: report.Unsupported, Detail: err.Error()}
	case err != nil:
		return nil, nil, Outcome{Refused: report.Malformed, Detail: err.Error()}
	}
	return e, r, Outcome{}
}

// judge says what is wrong with a report that was read. A signature is checked whether
// or not there is a device: it takes the same time.
func (d *Desk) judge(x Device, known bool, e *report.Envelope, r *report.Report, now time.Time) (report.Refusal, string) {
	key, named := d.nobody, false
	if known && len(x.Key) == ed25519.PublicKeySize {
		key, named = x.Key, e.Key == report.KeyID(x.Key)
	}
	signed := e.Signed(key)
	off := r.Time.Sub(now)
	switch {
	case !known || !named:
		return report.UnknownKey, "key " + e.Key
	case !signed:
		return report.Signature, ""
	case !x.Revoked.IsZero():
		return report.Revoked, "since " + x.Revoked.Format(time.RFC3339)
	case off.Abs() > clockWindow:
		return report.Clock, fmt.Sprintf("off by %v", off.Round(time.Second))
	}
	return report.Taken, ""
}

// commit takes the report's nonce and number, if the key is still the one it was.
func (d *Desk) commit(ctx context.Context, x *Device, raw string, r *report.Report, now time.Time) (report.Refusal, error) {
	key := &store.Swap{Key: store.DeviceKey(x.ID), Old: raw, New: raw, TTL: keyLife}
	rate := &store.Count{Key: store.DeviceRate(x.ID), ID: r.Nonce.String(), Window: window, Max: perDevice}
	// The same try again after a lost answer is none of its own; another of the same report is.
	once := &store.Once{Key: store.DeviceNonce(x.ID, r.Nonce.String()), Value: ticket.Draw(16), TTL: nonceLife}
	rise := &store.Advance{Key: store.DeviceSeq(x.ID), Field: last, To: r.Seq, Note: now.UnixMilli(), ID: once.Value, TTL: keyLife}
	// What was taken before is refused as such, and counts nothing.
	if err := d.store.Do(ctx, store.Seq{key, once, rise, rate}); err != nil {
		return report.Away, err
	}
	switch {
	case !key.OK:
		return report.Revoked, nil
	case !once.OK:
		return report.Replayed, nil
	case !rise.OK:
		return report.Order, nil
	case !rate.OK:
		return report.Rate, nil
	}
	// The user's list keeps whom it hears from.
	return report.Taken, d.store.Do(ctx, store.Seq{&store.Enter{Key: store.UserAgents(x.User), Member: x.ID, For: keyLife}})
}

// record is a report as posture keeps it.
func record(x *Device, r *report.Report, from Origin, now time.Time) posture.Record {
	f := &r.Facts
	rec := posture.Record{
		Device: x.ID, Name: x.Name, Source: Source, Confidence: policy.Attested, Owners: []string{x.User},
		At: earlier(r.Time, now), Got: now.UTC(), From: from.Addr,
		Facts: posture.Facts{
			OS: f.OS, OSVersion: f.OSVersion, Encrypted: tri(f.Encrypted), Firewall: tri(f.Firewall), Antivirus: tri(f.Antivirus),
			Lock: tri(f.Lock), Patched: past(f.Patched, now), Booted: past(f.Booted, now),
		},
	}
	if from.Inside {
		rec.From = Origin{}.Addr
	}
	return rec
}

func tri(a report.Answer) policy.Tri {
	switch a {
	case report.Yes:
		return policy.Yes
	case report.No:
		return policy.No
	case report.Unknown:
	}
	return policy.Unknown
}

func earlier(t, now time.Time) time.Time {
	if t.After(now) {
		return now.UTC()
	}
	return t
}

// past is a moment that has come; what is said to be still to come is not known. A
// clock may be off.
func past(t, now time.Time) time.Time {
	if t.After(now.Add(clockWindow)) {
		return time.Time{}
	}
	if t.IsZero() {
		return t
	}
	return earlier(t, now)
}
