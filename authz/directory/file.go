package directory

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mschap"
	"postern/internal/seal"
)

// FileConfig says which files a File reads; at least one.
type FileConfig struct {
	Users       string // users file; asked first
	ChapSecrets string // pppd's
	Server      string // chap-secrets: our server name; "": all lines
	Ring        *seal.Ring
	Log         *slog.Logger
}

// recheck is how often the files are looked at for changes, ours.
const recheck = time.Second

// File is the directory of a users file and a chap-secrets. It notices changed
// files within a second of use; one with mistakes is reported and the accounts
// of before stay in force.
type File struct {
	cfg    FileConfig
	now    func() time.Time
	tables atomic.Pointer[[]table] // in the order they are asked

	dummy  string // sealed hash nobody's password has: unknown users' work
	mu     sync.Mutex
	looked time.Time
	stamps []stamp
}

// stamp is how a file looked when it was read.
type stamp struct {
	modified time.Time
	size     int64
	info     os.FileInfo // for os.SameFile: replaced files have a new inode
}

// dummyName cannot be an account's: the seal is bound to it.
const dummyName = "\x00nobody"

// OpenFile reads the files. The error holds every mistake of both.
func OpenFile(cfg FileConfig) (*File, error) {
	if cfg.Users == "" && cfg.ChapSecrets == "" {
		return nil, errors.New("open directory: no file")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &File{cfg: cfg, now: time.Now}
	var err error
	if f.dummy, err = cfg.Ring.Seal(purpose, dummyName, make([]byte, 16)); err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the files now. After an error the accounts of before stay.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloadLocked()
}

func (f *File) reloadLocked() error {
	f.looked = f.now()
	f.stamps = f.stamp()
	var tables []table
	var errs []error
	if name := f.cfg.Users; name != "" {
		src, err := os.ReadFile(name)
		var t table
		if err == nil {
			t, err = parseUsers(name, src, f.cfg.Ring)
		}
		tables, errs = append(tables, t), append(errs, err)
	}
	if name := f.cfg.ChapSecrets; name != "" {
		src, err := os.ReadFile(name)
		var t table
		if err == nil {
			t, err = parseChapSecrets(name, src, f.cfg.Server, f.cfg.Ring)
		}
		clear(src)
		tables, errs = append(tables, t), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	f.tables.Store(&tables)
	return nil
}

// stamp looks at the files.
func (f *File) stamp() []stamp {
	var stamps []stamp
	for _, name := range []string{f.cfg.Users, f.cfg.ChapSecrets} {
		s := stamp{}
		if info, err := os.Stat(name); err == nil {
			s = stamp{info.ModTime(), info.Size(), info}
		}
		stamps = append(stamps, s)
	}
	return stamps
}

func (s stamp) equal(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == o.info
	}
	return s.modified.Equal(o.modified) && s.size == o.size && os.SameFile(s.info, o.info)
}

// refresh reloads when a file has changed. One caller looks, the others go on
// with what there is.
func (f *File) refresh() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if f.now().Sub(f.looked) < recheck {
		return
	}
	f.looked = f.now()
	if slices.EqualFunc(f.stamps, f.stamp(), stamp.equal) {
		return
	}
	if err := f.reloadLocked(); err != nil {
		f.cfg.Log.Error("directory not reloaded, the accounts of before stay", "error", err)
		return
	}
	f.cfg.Log.Info("directory reloaded", "accounts", f.Len())
}

// Len counts the accounts.
func (f *File) Len() int {
	n := 0
	for _, t := range *f.tables.Load() {
		n += len(t)
	}
	return n
}

// lookup finds a name. A name with a realm is also looked for as one word, the
// way chap-secrets of providers spell it; otherwise the realm does not matter:
// there is one directory.
func (f *File) lookup(n Name) *entry {
	for _, t := range *f.tables.Load() {
		if n.Realm != "" {
			if e := t[key(n.User+"@"+n.Realm)]; e != nil {
				return e
			}
			if e := t[key(n.Realm+`\`+n.User)]; e != nil {
				return e
			}
		}
		if e := t[key(n.User)]; e != nil {
			return e
		}
	}
	return nil
}

// entry is lookup for a canonical name.
func (f *File) entry(name string) *entry {
	for _, t := range *f.tables.Load() {
		if e := t[name]; e != nil {
			return e
		}
	}
	return nil
}

// Canonical implements Directory.
func (f *File) Canonical(n Name) string {
	if e := f.lookup(n); e != nil {
		return e.key
	}
	return key(n.User)
}

// Find implements Directory.
func (f *File) Find(_ context.Context, n Name) (*Account, error) {
	f.refresh()
	e := f.lookup(n)
	if e == nil {
		return nil, Rejected{Reason: NoSuchUser}
	}
	a := e.account()
	return &a, nil
}

// VerifyMSCHAPv2 implements Directory.
func (f *File) VerifyMSCHAPv2(_ context.Context, n Name, _ *Account, r *MSCHAPv2) (Proof, error) {
	hash, known, err := f.hash(n)
	if err != nil {
		return Proof{}, err
	}
	defer clear(hash[:])
	want := mschap.NTResponse(r.ChallengeHash, &hash)
	right := subtle.ConstantTimeCompare(want[:], r.Response[:]) == 1
	// Made for wrong responses too, so that they take as long as right ones.
	proof := Proof{HashHash: mschap.HashHash(&hash)}
	if err := known.judge(right); err != nil {
		return Proof{}, err
	}
	return proof, nil
}

// VerifyPassword implements Directory.
func (f *File) VerifyPassword(_ context.Context, n Name, _ *Account, password []byte) (Proof, error) {
	hash, known, err := f.hash(n)
	if err != nil {
		return Proof{}, err
	}
	defer clear(hash[:])
	given := mschap.NTHash(string(password))
	defer clear(given[:])
	right := subtle.ConstantTimeCompare(hash[:], given[:]) == 1
	return Proof{}, known.judge(right && len(password) > 0)
}

// Changed implements Follower: all of them, a look costs nothing.
func (f *File) Changed(_ context.Context, names []string, _ Mark) ([]Account, Mark, error) {
	f.refresh()
	accounts := make([]Account, 0, len(names))
	for _, name := range names {
		a := Account{Name: name, State: Gone}
		if e := f.entry(name); e != nil {
			a = e.account()
		}
		accounts = append(accounts, a)
	}
	return accounts, "", nil
}

// knowledge is what there is to a name.
type knowledge uint8

const (
	noUser knowledge = iota
	noHash
	hashed
)

// hash opens the name's NT hash; for a name without one, the dummy's.
func (f *File) hash(n Name) (hash [16]byte, k knowledge, err error) {
	name, sealed := dummyName, f.dummy
	if e := f.lookup(n); e != nil {
		k = noHash
		if e.sealed != "" {
			name, sealed, k = e.key, e.sealed, hashed
		}
	}
	hash, err = openHash(f.cfg.Ring, name, sealed)
	if err != nil {
		return hash, k, Unavailable{"open a sealed hash", err}
	}
	return hash, k, nil
}

func (k knowledge) judge(right bool) error {
	switch {
	case k == noUser:
		return Rejected{Reason: NoSuchUser}
	case k == noHash || !right:
		return Rejected{Reason: WrongPassword}
	}
	return nil
}
