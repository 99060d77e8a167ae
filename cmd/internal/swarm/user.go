package swarm

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"postern/internal/mschap"
)

// User is an account to log in with. It does not print its secrets.
type User struct {
	Name  string // as typed, without a code
	hash  [16]byte
	token *token // nil: no code is typed
}

// String hides everything but the name.
func (u User) String() string { return u.Name }

// GoString is String, for %#v.
func (u User) GoString() string { return u.Name }

// token makes one-time codes (RFC 6238).
type token struct {
	secret    string // base32
	period    int64  // seconds
	digits    otp.Digits
	algorithm otp.Algorithm
}

// parseToken reads a base32 secret, or the otpauth:// URL that enrolment shows.
func parseToken(s string) (*token, error) {
	if !strings.Contains(s, "://") {
		s = "otpauth://totp/x?secret=" + strings.TrimRight(strings.ToUpper(strings.ReplaceAll(s, " ", "")), "=")
	}
	key, err := otp.NewKeyFromURL(s)
	if err != nil || key.Type() != "totp" {
		return nil, errors.New("neither a base32 secret nor an otpauth://totp/ URL") // the cause would show it
	}
	t := &token{secret: key.Secret(), period: int64(key.Period()), digits: key.Digits(), algorithm: key.Algorithm()}
	if t.period <= 0 {
		return nil, errors.New("a period of 0")
	}
	if _, err := t.code(0); err != nil {
		return nil, errors.New("a secret that is not base32")
	}
	return t, nil
}

func (t *token) step(now time.Time) int64 { return now.Unix() / t.period }

// until is when the next step begins.
func (t *token) until(step int64) time.Time { return time.Unix((step+1)*t.period, 0) }

func (t *token) code(step int64) (string, error) {
	return hotp.GenerateCodeCustom(t.secret, uint64(step), hotp.ValidateOpts{Digits: t.digits, Algorithm: t.algorithm})
}

// maxUsers bounds a users file, ours.
const maxUsers = 1 << 20

// ReadUsers reads a users file: CSV (RFC 4180) of user,password[,totp], where totp is
// a base32 secret or an otpauth:// URL. Empty lines, those that begin with #, and a
// first line that names the columns are passed over. A file that others may read is
// refused, as ssh refuses keys. No error shows a secret.
func ReadUsers(path string) ([]User, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds passwords and has mode %#o: others may read or change it (chmod 600 %s)", path, info.Mode().Perm(), path)
	}
	users, err := parseUsers(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return users, nil
}

func parseUsers(r io.Reader) ([]User, error) {
	c := csv.NewReader(bufio.NewReader(r))
	c.Comment, c.FieldsPerRecord, c.ReuseRecord = '#', -1, true
	var users []User
	seen := map[string]bool{}
	var errs []error
	for first := true; ; first = false {
		rec, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("no CSV: %w", err)
		}
		if first && len(rec) > 1 && strings.EqualFold(rec[0], "user") && strings.EqualFold(rec[1], "password") {
			continue
		}
		line, _ := c.FieldPos(0)
		if u, err := parseUser(rec); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
		} else if seen[u.Name] {
			errs = append(errs, fmt.Errorf("line %d: user %q a second time", line, u.Name))
		} else if seen[u.Name] = true; len(users) == maxUsers {
			return nil, fmt.Errorf("more than %d users", maxUsers)
		} else {
			users = append(users, u)
		}
		if len(errs) == 10 {
			break
		}
	}
	if len(users) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no users"))
	}
	return users, errors.Join(errs...)
}

func parseUser(rec []string) (User, error) {
	switch {
	case len(rec) < 2 || len(rec) > 3:
		return User{}, fmt.Errorf("%d fields; want user,password or user,password,totp", len(rec))
	case rec[0] == "":
		return User{}, errors.New("no name")
	case rec[1] == "":
		return User{}, errors.New("no password")
	}
	u := User{Name: rec[0], hash: mschap.NTHash(rec[1])}
	if len(rec) == 3 && rec[2] != "" {
		var err error
		if u.token, err = parseToken(rec[2]); err != nil {
			return User{}, fmt.Errorf("the totp of %q: %w", u.Name, err)
		}
	}
	return u, nil
}

// Account is a user as a users file has it.
type Account struct {
	Name, Password, TOTP string
}

// String hides everything but the name.
func (a Account) String() string { return a.Name }

// GoString is String, for %#v.
func (a Account) GoString() string { return a.Name }

// WriteUsers writes a users file that must not be there yet.
func WriteUsers(path string, accounts []Account) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	w := csv.NewWriter(f)
	_ = w.Write([]string{"user", "password", "totp"}) // Flush tells
	for _, a := range accounts {
		_ = w.Write([]string{a.Name, a.Password, a.TOTP})
	}
	w.Flush()
	return w.Error()
}
