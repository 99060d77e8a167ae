package posture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/store"
	"postern/policy"
)

// Bounds, ours: far above any real device or user, and small enough that what a login
// reads stays small.
const (
	maxID      = 64
	maxOwners  = 64
	maxGroups  = 64
	maxText    = 256
	maxSources = 8  // of one device
	maxOwned   = 32 // devices of one user that are looked at; those heard of last
	writers    = 16
	tries      = 32
	// FromAD is the source of what the directory says of its computer objects.
	FromAD = "ad"
	// FromAgent is the source of what devices report themselves.
	FromAgent = "agent"
)

// Errors of Put, each about one record.
var (
	ErrBadRecord = errors.New("posture: not a record")
	errChanging  = errors.New("posture: what is known of the device changes all the time")
)

// Config of a Keeper.
type Config struct {
	// Keep is how long a record is kept that nobody repeats; 0: 90 days.
	Keep time.Duration
	// Review has the sessions of users looked at again; nil: nobody does.
	Review func(ctx context.Context, why string, users ...string) error
	// Using are the users that have sessions from a device, owners or not; nil: its owners
	// alone are known. It is called from many goroutines.
	Using func(ctx context.Context, device string) ([]string, error)
}

// Keeper keeps records of devices in the store. It is safe for concurrent use, also by
// several services.
type Keeper struct {
	store store.Store
	cfg   Config
}

// New makes a Keeper.
func New(st store.Store, c Config) *Keeper {
	if c.Keep <= 0 {
		c.Keep = 90 * 24 * time.Hour
	}
	return &Keeper{st, c}
}

// known is all that is known of a device, as it stands in the store: beside the device,
// with each of its owners, and under the name that the directory has for it.
type known struct {
	Device  string   `json:"device"`
	Number  int64    `json:"number"` // rises with each change
	Records []Record `json:"records,omitempty"`
}

func (k *known) marshal() string {
	b, err := json.Marshal(k)
	if err != nil { // no field of ours can fail
		return "{}"
	}
	return string(b)
}

func parseKnown(s string) (*known, error) {
	k := new(known)
	if err := json.Unmarshal([]byte(s), k); err != nil {
		return nil, fmt.Errorf("parse device: %w", err)
	}
	return k, nil
}

// owners are all users that a source names as owners, folded once each.
func (k *known) owners() []string {
	if k == nil {
		return nil
	}
	var all []string
	for _, r := range k.Records {
		for _, o := range r.Owners {
			if !slices.ContainsFunc(all, func(have string) bool { return strings.EqualFold(have, o) }) {
				all = append(all, o)
			}
		}
	}
	return all[:min(len(all), maxOwners)]
}

// hosts are the names that the directory has for the device.
func (k *known) hosts() []string {
	if k == nil {
		return nil
	}
	var all []string
	for _, r := range k.Records {
		if r.Source == FromAD && r.Name != "" {
			all = append(all, strings.ToLower(r.Name))
		}
	}
	return all
}

// with is what is known after a source has spoken.
func (k *known) with(r Record, now time.Time, keep time.Duration) *known {
	next := &known{Device: r.Device, Number: 1}
	if k != nil {
		next.Number = k.Number + 1
		for _, old := range k.Records {
			switch {
			case old.Source == r.Source && old.At.After(r.At):
				r = old // what is older says nothing new
			case old.Source != r.Source && now.Sub(old.Got) < keep:
				next.Records = append(next.Records, old)
			}
		}
	}
	next.Records = append(next.Records, r)
	slices.SortStableFunc(next.Records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), strings.Compare(a.Source, b.Source))
	})
	next.Records = next.Records[:min(len(next.Records), maxSources)]
	return next
}

// check refuses what is no record, and brings the rest into shape.
func (r *Record) check(now time.Time) error {
	r.Device = strings.ToLower(strings.TrimSpace(r.Device))
	if !ValidID(r.Device) {
		return fmt.Errorf("%w: device %.80q", ErrBadRecord, r.Device)
	}
	r.Name, _, _ = strings.Cut(strings.TrimSpace(r.Name), ".")
	switch {
	case r.Source == "" || len(r.Source) > maxID:
		return fmt.Errorf("%w: device %s without a source", ErrBadRecord, r.Device)
	case r.Confidence == policy.NoConfidence || r.Confidence > policy.Attested:
		return fmt.Errorf("%w: device %s without a confidence", ErrBadRecord, r.Device)
	case r.At.IsZero():
		return fmt.Errorf("%w: device %s without a time", ErrBadRecord, r.Device)
	case len(r.Owners) > maxOwners || len(r.Facts.Groups) > maxGroups:
		return fmt.Errorf("%w: device %s with %d owners and %d groups", ErrBadRecord, r.Device, len(r.Owners), len(r.Facts.Groups))
	}
	for _, s := range slices.Concat([]string{r.Name, r.Facts.OS, r.Facts.OSVersion}, r.Owners, r.Facts.Groups) {
		if len(s) > maxText {
			return fmt.Errorf("%w: device %s with a text of %d octets", ErrBadRecord, r.Device, len(s))
		}
	}
	r.Facts.OS = strings.ToLower(r.Facts.OS)
	r.Got = now.UTC()
	r.At = earlier(r.At, now)
	r.Facts.Patched, r.Facts.Booted, r.Facts.LastLogon = earlier(r.Facts.Patched, now), earlier(r.Facts.Booted, now), earlier(r.Facts.LastLogon, now)
	return nil
}

// earlier keeps an instant out of the future: an age must not be negative, for such a
// device would look fresh for years.
func earlier(t, now time.Time) time.Time {
	if t.After(now) {
		t = now
	}
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// ValidID says whether s can name a device: letters, digits, dots, dashes and underscores,
// 64 at most. Such a name can stand behind a user's.
func ValidID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Put writes records down, each in the place of what its source said of the device
// before; a record that is older than that changes nothing. It returns the users whose
// devices they are, or were, and those who use them, and has their sessions looked at again. The error joins those
// of single records, which are ErrBadRecord, and the store's; all others are written.
func (k *Keeper) Put(ctx context.Context, recs ...Record) (changed []string, err error) {
	clock := &store.Time{}
	if err := k.store.Do(ctx, store.Seq{clock}); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, writers)
	for _, r := range recs {
		if err := r.check(clock.Now); err != nil {
			errs = append(errs, err)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() { // waited for below
			defer func() { <-slots }()
			users, err := k.change(ctx, r.Device, func(was *known) *known { return was.with(r, clock.Now, k.cfg.Keep) })
			mu.Lock()
			defer mu.Unlock()
			changed = append(changed, users...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return k.review(ctx, changed, errs)
}

// review has the sessions of users looked at again.
func (k *Keeper) review(ctx context.Context, users []string, errs []error) ([]string, error) {
	slices.Sort(users)
	users = slices.Compact(users)
	if k.cfg.Review != nil && len(users) > 0 {
		errs = append(errs, k.cfg.Review(ctx, "posture", users...))
	}
	return users, errors.Join(errs...)
}

// Remove forgets what sources say of a device; without any, all of it. The sessions of its
// owners and of those who use it are looked at again.
func (k *Keeper) Remove(ctx context.Context, device string, sources ...string) error {
	device = strings.ToLower(device)
	if !ValidID(device) {
		return fmt.Errorf("%w: device %.80q", ErrBadRecord, device)
	}
	users, err := k.change(ctx, device, func(was *known) *known {
		if was == nil {
			return nil
		}
		next := &known{Device: device, Number: was.Number + 1}
		if len(sources) > 0 {
			next.Records = slices.DeleteFunc(slices.Clone(was.Records), func(r Record) bool { return slices.Contains(sources, r.Source) })
		}
		return next
	})
	_, err = k.review(ctx, users, []error{err})
	return err
}

// change changes what is known of a device, and then what stands of it elsewhere. It
// returns all users concerned, also where it could not do all of that.
func (k *Keeper) change(ctx context.Context, device string, amend func(*known) *known) ([]string, error) {
	key := store.DeviceRecords(device)
	for range tries {
		was, text, err := k.read(ctx, key)
		if err != nil {
			return nil, err
		}
		next := amend(was)
		if next == nil {
			return nil, nil
		}
		swap := &store.Swap{Key: key, Absent: text == "", Old: text, New: next.marshal(), TTL: k.cfg.Keep}
		list := store.Seq{&store.Enter{Key: store.DevicesOf(device), Member: device, For: k.cfg.Keep}}
		if len(next.Records) == 0 {
			list = store.Seq{&store.Leave{Key: store.DevicesOf(device), Member: device}}
		}
		if err := k.store.Do(ctx, store.Seq{swap}, list); err != nil {
			return nil, err
		}
		if swap.OK {
			users := slices.Concat(was.owners(), next.owners())
			err := k.spread(ctx, was, next)
			using, failed := k.using(ctx, device)
			return append(users, using...), errors.Join(err, failed)
		}
	}
	return nil, fmt.Errorf("%w: %s", errChanging, device)
}

// using are those whose sessions come from a device. A computer of the domain has no owner
// mostly, and a device can be dialled from by others than its owners.
func (k *Keeper) using(ctx context.Context, device string) ([]string, error) {
	if k.cfg.Review == nil || k.cfg.Using == nil {
		return nil, nil
	}
	users, err := k.cfg.Using(ctx, device)
	if err != nil {
		return nil, fmt.Errorf("find who uses %s: %w", device, err)
	}
	return users, nil
}

// read reads what stands under a key; nil: nothing that could be read, which is written
// over.
func (k *Keeper) read(ctx context.Context, key store.Key) (*known, string, error) {
	get := &store.Get{Key: key}
	if err := k.store.Do(ctx, store.Seq{get}); err != nil || !get.Found {
		return nil, "", err
	}
	if was, err := parseKnown(get.Value); err == nil {
		return was, get.Value, nil
	}
	return nil, get.Value, nil
}

// spread writes what is known of a device to where logins look for it: with its owners of
// now and of before, and under its names in the directory. Whoever spreads what has
// changed meanwhile spreads that as well, so that the last word is everywhere.
func (k *Keeper) spread(ctx context.Context, was, next *known) error {
	users, hosts := slices.Concat(was.owners(), next.owners()), slices.Concat(was.hosts(), next.hosts())
	for range tries {
		for _, u := range users {
			if err := k.tell(ctx, u, next); err != nil {
				return err
			}
		}
		for _, h := range hosts {
			if err := k.name(ctx, h, next); err != nil {
				return err
			}
		}
		now, _, err := k.read(ctx, store.DeviceRecords(next.Device))
		if err != nil || now == nil || now.Number == next.Number {
			return err
		}
		next = now
		users, hosts = append(users, now.owners()...), append(hosts, now.hosts()...)
	}
	return fmt.Errorf("%w: %s", errChanging, next.Device)
}

// owned is what stands with a user.
type owned struct {
	Devices []known `json:"devices"`
}

func parseOwned(s string) owned {
	var o owned
	if json.Unmarshal([]byte(s), &o) != nil {
		return owned{}
	}
	return o
}

// tell writes a device down with a user, or takes it away from there.
func (k *Keeper) tell(ctx context.Context, user string, d *known) error {
	owns := slices.ContainsFunc(d.owners(), func(o string) bool { return strings.EqualFold(o, user) })
	return k.swap(ctx, store.UserDevices(user), func(text string) string {
		o := parseOwned(text)
		at := slices.IndexFunc(o.Devices, func(have known) bool { return have.Device == d.Device })
		switch {
		case at >= 0 && o.Devices[at].Number > d.Number:
			return text
		case at >= 0 && owns:
			o.Devices[at] = *d
		case at >= 0:
			o.Devices = slices.Delete(o.Devices, at, at+1)
		case owns:
			o.Devices = append(o.Devices, *d)
		}
		slices.SortFunc(o.Devices, func(a, b known) int {
			return cmp.Or(b.heard().Compare(a.heard()), strings.Compare(a.Device, b.Device))
		})
		o.Devices = o.Devices[:min(len(o.Devices), maxOwned)]
		if len(o.Devices) == 0 {
			return ""
		}
		b, err := json.Marshal(o)
		if err != nil { // no field of ours can fail
			return text
		}
		return string(b)
	})
}

// name writes a device down under a name that the directory has for it, or takes it away.
func (k *Keeper) name(ctx context.Context, host string, d *known) error {
	has := slices.Contains(d.hosts(), host)
	return k.swap(ctx, store.DeviceName(host), func(text string) string {
		there, err := parseKnown(text)
		mine := text != "" && err == nil && there.Device == d.Device
		switch {
		case mine && there.Number > d.Number:
			return text
		case has:
			return d.marshal()
		case mine:
			return ""
		}
		return text
	})
}

// swap changes a value until nobody else does; "" is none.
func (k *Keeper) swap(ctx context.Context, key store.Key, amend func(string) string) error {
	for range tries {
		get := &store.Get{Key: key}
		if err := k.store.Do(ctx, store.Seq{get}); err != nil {
			return err
		}
		next := amend(get.Value)
		if next == get.Value {
			return nil
		}
		if next == "" {
			next = "{}" // a guard can write, and not delete
		}
		op := &store.Swap{Key: key, Absent: !get.Found, Old: get.Value, New: next, TTL: k.cfg.Keep}
		if err := k.store.Do(ctx, store.Seq{op}); err != nil {
			return err
		}
		if op.OK {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errChanging, key)
}

// heard is when the device was last heard of.
func (k *known) heard() (last time.Time) {
	for _, r := range k.Records {
		if r.At.After(last) {
			last = r.At
		}
	}
	return last
}

// Get returns what each source says of a device.
func (k *Keeper) Get(ctx context.Context, device string) ([]Record, bool, error) {
	if !ValidID(device) {
		return nil, false, nil
	}
	was, _, err := k.read(ctx, store.DeviceRecords(device))
	if err != nil || was == nil || len(was.Records) == 0 {
		return nil, false, err
	}
	return was.Records, true, nil
}

// List returns the records of all devices, by device. A user's are those of which a source
// names him as an owner; "": everybody's.
func (k *Keeper) List(ctx context.Context, user string) ([]Record, error) {
	if user != "" {
		get := &store.Get{Key: store.UserDevices(user)}
		if err := k.store.Do(ctx, store.Seq{get}); err != nil {
			return nil, err
		}
		var all []Record
		for _, d := range parseOwned(get.Value).Devices {
			all = append(all, d.Records...)
		}
		sortRecords(all)
		return all, nil
	}
	var ids []string
	for _, shard := range store.Devices() {
		for at := 0; ; {
			list := &store.Members{Key: shard, Offset: at, Limit: page}
			if err := k.store.Do(ctx, store.Seq{list}); err != nil {
				return nil, err
			}
			for _, m := range list.List {
				ids = append(ids, m.Name)
			}
			if at += len(list.List); len(list.List) < page {
				break
			}
		}
	}
	var all []Record
	for some := range slices.Chunk(ids, page) {
		var seqs []store.Seq
		for _, id := range some {
			seqs = append(seqs, store.Seq{&store.Get{Key: store.DeviceRecords(id)}})
		}
		if err := k.store.Do(ctx, seqs...); err != nil {
			return nil, err
		}
		for _, s := range seqs {
			if get, ok := s[0].(*store.Get); ok && get.Found {
				if d, err := parseKnown(get.Value); err == nil {
					all = append(all, d.Records...)
				}
			}
		}
	}
	sortRecords(all)
	return all, nil
}

// page is how many devices are read at once.
const page = 200

func sortRecords(all []Record) {
	slices.SortStableFunc(all, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Device, b.Device), cmp.Compare(b.Confidence, a.Confidence))
	})
}
