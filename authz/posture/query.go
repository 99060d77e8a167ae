package posture

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
	"postern/policy"
)

// Query finds the device that a login, or a session, comes from.
type Query struct {
	user   string
	join   string // of a session's device that is known already
	mine   *store.Get
	tagged *store.Get
	named  *store.Get
}

// Ask asks for the device of a login: user is the canonical name, tag what stood behind
// the name as typed, clientName what the client calls itself.
func Ask(user, tag, clientName string) *Query {
	q := &Query{user: user, mine: &store.Get{Key: store.UserDevices(user)}}
	if ValidID(tag) {
		q.tagged, q.join = &store.Get{Key: store.DeviceRecords(tag)}, "tag"
	}
	if host := hostOf(clientName); host != "" {
		q.named = &store.Get{Key: store.DeviceName(host)}
	}
	return q
}

// AskDevice asks for the device of a session as it was found at the login.
func AskDevice(user, device, join string) *Query {
	return &Query{user: user, join: join, tagged: &store.Get{Key: store.DeviceRecords(device)}}
}

// Seqs is what to put into the Do that loads the login.
func (q *Query) Seqs() []store.Seq {
	var seqs []store.Seq
	for _, op := range []*store.Get{q.mine, q.tagged, q.named} {
		if op != nil {
			seqs = append(seqs, store.Seq{op})
		}
	}
	return seqs
}

// hostOf is the host name in what a client calls itself. Windows says MSRAS-0-NAME in its
// LCP Identification, and NAS hand that on as it is.
func hostOf(client string) string {
	if rest, ok := strings.CutPrefix(client, "MSRAS-"); ok {
		_, client, _ = strings.Cut(rest, "-")
	}
	client, _, _ = strings.Cut(client, ".")
	if client = strings.ToLower(client); !ValidID(client) {
		return ""
	}
	return client
}

// Device is the device, joined in this order; the zero Device where none is found, or more
// than one:
//
//	tag       what the user typed behind the name
//	report    a report of this user's, no older than fresh, from the login's own address
//	enrolled  the one device of this user that reports
//	client    the name that the client gives itself, in the directory
//
// What is found by a name alone is believed as the directory is, at most: names are claims.
func (q *Query) Device(now time.Time, source netip.Addr, fresh time.Duration) policy.Device {
	if q.tagged != nil { // a tag that names nothing is an unknown device, not another one
		d := q.got(q.tagged)
		if d == nil {
			return policy.Device{}
		}
		if q.join == "client" {
			return merge(d.only(policy.Directory), q.user, q.join)
		}
		return merge(d, q.user, q.join)
	}
	var mine []known
	if q.mine != nil && q.mine.Found {
		mine = parseOwned(q.mine.Value).Devices
	}
	source = source.Unmap().WithZone("")
	if d := one(mine, func(r *Record) bool {
		return source.IsValid() && r.From.Unmap() == source && now.Sub(r.At) <= fresh
	}); d != nil {
		return merge(d, q.user, "report")
	}
	if d := one(mine, func(*Record) bool { return true }); d != nil {
		return merge(d, q.user, "enrolled")
	}
	if q.named != nil {
		if d := q.got(q.named); d != nil {
			return merge(d.only(policy.Directory), q.user, "client")
		}
	}
	return policy.Device{}
}

// got is the device in an answer of the store; nil: none.
func (q *Query) got(op *store.Get) *known {
	if !op.Found {
		return nil
	}
	d, err := parseKnown(op.Value)
	if err != nil || len(d.Records) == 0 {
		return nil
	}
	return d
}

// one is the only device with a record of its agent that fits; nil: none, or several.
func one(devices []known, fits func(*Record) bool) (found *known) {
	for i := range devices {
		d := &devices[i]
		if !slices.ContainsFunc(d.Records, func(r Record) bool { return r.Source == FromAgent && fits(&r) }) {
			continue
		}
		if found != nil {
			return nil
		}
		found = d
	}
	return found
}

// only is what is known with a confidence.
func (k *known) only(c policy.Confidence) *known {
	return &known{Device: k.Device, Records: slices.DeleteFunc(slices.Clone(k.Records), func(r Record) bool { return r.Confidence != c })}
}

// merge makes of what sources say what rules see: of each fact the most believable word,
// and of two the newer.
func merge(k *known, user, join string) policy.Device {
	if len(k.Records) == 0 {
		return policy.Device{}
	}
	recs := slices.Clone(k.Records)
	slices.SortStableFunc(recs, func(a, b Record) int { // the last word wins below
		if a.Confidence != b.Confidence {
			return int(a.Confidence) - int(b.Confidence)
		}
		return a.At.Compare(b.At)
	})
	d := policy.Device{ID: k.Device, Join: join}
	for i := range recs {
		r := &recs[i]
		if r.Name != "" {
			d.Name = r.Name
		}
		if at := &d.Reported[r.Confidence]; r.At.After(*at) {
			*at = r.At
		}
		if len(r.Owners) > 0 && d.Owned != policy.Yes {
			d.Owned = policy.No
			if slices.ContainsFunc(r.Owners, func(o string) bool { return strings.EqualFold(o, user) }) {
				d.Owned = policy.Yes
			}
		}
		f := &r.Facts
		say(&d.OS, f.OS, r)
		say(&d.OSVersion, f.OSVersion, r)
		say(&d.Managed, f.Managed, r)
		say(&d.Compliant, f.Compliant, r)
		say(&d.Encrypted, f.Encrypted, r)
		say(&d.Firewall, f.Firewall, r)
		say(&d.Antivirus, f.Antivirus, r)
		say(&d.Lock, f.Lock, r)
		say(&d.Enabled, f.Enabled, r)
		say(&d.Patched, f.Patched, r)
		say(&d.Booted, f.Booted, r)
		say(&d.LastLogon, f.LastLogon, r)
		if r.Confidence == policy.Directory && len(f.Groups) > 0 {
			d.Groups = f.Groups
		}
	}
	return d
}

// say sets a fact that a source knows.
func say[T comparable](to *policy.Fact[T], value T, r *Record) {
	var none T
	if value != none {
		*to = policy.Fact[T]{Value: value, Confidence: r.Confidence, Source: r.Source, At: r.At}
	}
}
