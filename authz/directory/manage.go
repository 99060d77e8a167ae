package directory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"postern/internal/seal"
)

// Errors of the functions that change a users file.
var (
	ErrExists   = errors.New("user exists already")
	ErrNotFound = errors.New("no such user")
)

// Users manages a users file. Each change replaces the file in one step, mode
// 0600; comments and the order of lines stay. Processes take turns by a lock on
// the directory.
type Users struct {
	Path string
	Ring *seal.Ring
}

// User is an account as List shows it.
type User struct {
	Name     string
	Groups   []string
	Disabled bool
	Addr     netip.Addr // the address the user must get; zero: any
	Password bool       // there is one
}

const usersHead = "# Postern users file. Change it with `postern user`; hashes are sealed by the key ring.\n"

// Add makes an account. It may have no password yet.
func (u *Users) Add(user User, password string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	return u.change("add", user.Name, func(t table) (*entry, error) {
		if t[key(user.Name)] != nil {
			return nil, ErrExists
		}
		e := newEntry(user)
		if password == "" {
			return e, nil
		}
		return e, u.setPassword(e, password)
	})
}

// checkUser refuses what cannot be added.
func checkUser(user User) error {
	if err := newName(user.Name); err != nil {
		return err
	}
	for _, g := range user.Groups {
		if problem := checkName(g); problem != "" {
			return fmt.Errorf("add user %s: group: %s", user.Name, problem)
		}
	}
	if user.Addr.IsValid() && !user.Addr.Is4() {
		return fmt.Errorf("add user %s: %v is no IPv4 address", user.Name, user.Addr)
	}
	return nil
}

func newEntry(user User) *entry {
	e := &entry{name: user.Name, key: key(user.Name), groups: user.Groups, state: Active, addr: user.Addr}
	if user.Disabled {
		e.state = Disabled
	}
	return e
}

// SetPassword changes a user's password.
func (u *Users) SetPassword(name, password string) error {
	return u.update("set password of", name, func(e *entry) error { return u.setPassword(e, password) })
}

// SetGroups changes a user's groups.
func (u *Users) SetGroups(name string, groups []string) error {
	for _, g := range groups {
		if problem := checkName(g); problem != "" {
			return fmt.Errorf("set groups of user %s: %s", name, problem)
		}
	}
	return u.update("set groups of", name, func(e *entry) error { e.groups = groups; return nil })
}

// SetDisabled disables a user, or ends that.
func (u *Users) SetDisabled(name string, disabled bool) error {
	return u.update("disable", name, func(e *entry) error {
		e.state = Active
		if disabled {
			e.state = Disabled
		}
		return nil
	})
}

// Delete removes a user.
func (u *Users) Delete(name string) error {
	return u.change("delete", name, func(t table) (*entry, error) {
		if t[key(name)] == nil {
			return nil, ErrNotFound
		}
		return nil, nil
	})
}

// List returns the users by name. A file that does not exist has none.
func (u *Users) List() ([]User, error) {
	src, err := os.ReadFile(u.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list users: %w", err)
	}
	t, err := parseUsers(u.Path, src, u.Ring)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users := make([]User, 0, len(t))
	for _, e := range t {
		users = append(users, User{e.name, e.groups, e.state == Disabled, e.addr, e.sealed != ""})
	}
	slices.SortFunc(users, func(a, b User) int { return cmp.Compare(key(a.Name), key(b.Name)) })
	return users, nil
}

func (u *Users) setPassword(e *entry, password string) error {
	switch {
	case password == "":
		return errors.New("an empty password")
	case !utf8.ValidString(password):
		return errors.New("a password that is not UTF-8")
	case utf8.RuneCountInString(password) > maxPassword:
		return fmt.Errorf("a password of more than %d characters", maxPassword)
	}
	sealed, err := sealPassword(u.Ring, e.name, password)
	e.sealed = sealed
	return err
}

// newName refuses names that login could not read again: these characters
// separate domains and one-time codes, and Active Directory forbids them, too.
func newName(name string) error {
	if problem := checkName(name); problem != "" {
		return fmt.Errorf("add user: %s", problem)
	}
	if i := strings.IndexAny(name, `/\[]:;|=,+*?<>"#!`); i >= 0 {
		return fmt.Errorf("add user: a name with %q", name[i])
	}
	return nil
}

func (u *Users) update(doing, name string, edit func(*entry) error) error {
	return u.change(doing, name, func(t table) (*entry, error) {
		e := t[key(name)]
		if e == nil {
			return nil, ErrNotFound
		}
		return e, edit(e)
	})
}

// change replaces the user's line by what edit returns; nil deletes it.
func (u *Users) change(doing, name string, edit func(table) (*entry, error)) error {
	if err := u.replace(name, edit); err != nil {
		return fmt.Errorf("%s user %s: %w", doing, name, err)
	}
	return nil
}

func (u *Users) replace(name string, edit func(table) (*entry, error)) error {
	return u.rewrite(func(src []byte, t table) ([]byte, error) {
		e, err := edit(t)
		if err != nil {
			return nil, err
		}
		return edited(src, name, e), nil
	})
}

// edited returns src with the record of name replaced, deleted (nil), or added
// at the end.
func edited(src []byte, name string, e *entry) []byte {
	lines := bytes.SplitAfter(src, []byte("\n"))
	records, _ := split("", src) // read before without a mistake
	var line []byte
	if e != nil {
		line = []byte(e.format() + "\n")
	}
	for _, rec := range records {
		if key(rec.words[0].text) == key(name) {
			out := bytes.Join(lines[:rec.first-1], nil)
			out = append(out, line...)
			return append(out, bytes.Join(lines[rec.last:], nil)...)
		}
	}
	out := bytes.Clone(src)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, line...)
}

// writeFile replaces path in one step: a reader sees the old file or the new
// one, also after a power failure.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".users-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, werr := f.Write(content)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lockDir makes processes that change files in dir take turns.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil // closing unlocks
}
