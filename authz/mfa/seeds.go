package mfa

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pquerna/otp"
)

// ErrKnown: the user has a token with this very secret.
var ErrKnown = errors.New("mfa: the user has this token already")

// Seed is a token that another system made, on its way in.
type Seed struct {
	Line      int    // where it stood
	User      string // as written there
	Label     string
	Digits    int
	Period    time.Duration
	Algorithm string // SHA1, SHA256, SHA512

	secret string // base32
}

// String hides the secret from prints, LogValue from logs.
func (s Seed) String() string       { return fmt.Sprintf("mfa.Seed(line %d, %s)", s.Line, s.User) }
func (s Seed) GoString() string     { return s.String() }
func (s Seed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Bounds of what is imported.
const (
	maxSeedFile               = 16 << 20
	minSeed, maxSeed          = 10, 128 // octets; RFC 4226 §4 R6 wants 16, old systems made 10
	minPeriod, maxPeriod      = 15 * time.Second, 120 * time.Second
	maxSeedUser, maxSeedLabel = 253, 64
)

// ParseSeeds reads tokens of other systems, all that are right and a mistake for each
// line that is not. No mistake shows a secret. A line is one of
//
//	otpauth://totp/Issuer:user?secret=BASE32&…      as apps and most systems export
//	user,secret[,digits[,period[,algorithm[,label]]]]  CSV (RFC 4180); a first line that
//	                                                names its columns may have others, and
//	                                                secret_hex in the place of secret
//	user … TOTP-Secret := "BASE32"                  FreeRADIUS' users file
//
// Empty lines and those that begin with # are passed over.
func ParseSeeds(r io.Reader) (seeds []Seed, mistakes []error, err error) {
	src, err := io.ReadAll(io.LimitReader(r, maxSeedFile+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read tokens: %w", err)
	case len(src) > maxSeedFile:
		return nil, nil, fmt.Errorf("read tokens: more than %d MiB", maxSeedFile>>20)
	case !utf8.Valid(src):
		return nil, nil, errors.New("read tokens: not UTF-8")
	}
	columns := defaultColumns
	first := true
	for n, line := range bytes.Split(bytes.TrimPrefix(src, []byte("\ufeff")), []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		if first {
			first = false
			if named, ok := header(text); ok {
				columns = named
				continue
			}
		}
		s, err := parseSeed(text, columns)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("line %d: %w", n+1, err))
			continue
		}
		s.Line = n + 1
		seeds = append(seeds, s)
	}
	return seeds, mistakes, nil
}

var (
	defaultColumns = []string{"user", "secret", "digits", "period", "algorithm", "label"}
	// freeradius is a line of its users file with rlm_totp's attribute.
	freeradius = regexp.MustCompile(`^("[^"]*"|\S+)\s.*\bTOTP-Secret\s*:?=\s*"([^"]*)"`)
)

// header reads the first line of a CSV file where it names columns.
func header(line string) ([]string, bool) {
	names, err := csv.NewReader(strings.NewReader(strings.ToLower(line))).Read()
	if err != nil {
		return nil, false
	}
	user, secret := false, false
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
		user = user || names[i] == "user"
		secret = secret || names[i] == "secret" || names[i] == "secret_hex"
	}
	return names, user && secret
}

func parseSeed(line string, columns []string) (Seed, error) {
	s := Seed{Digits: minDigits, Period: defaultPeriod, Algorithm: "SHA1"}
	if strings.HasPrefix(line, "otpauth:") {
		return s, s.url(line)
	}
	if m := freeradius.FindStringSubmatch(line); m != nil {
		s.User, s.secret = strings.Trim(m[1], `"`), m[2]
		return s, nil
	}
	fields, err := csv.NewReader(strings.NewReader(line)).Read()
	if err != nil {
		return s, errors.New("no token in a form that is known") // err could quote the secret
	}
	if len(fields) > len(columns) {
		return s, fmt.Errorf("%d columns, of at most %d", len(fields), len(columns))
	}
	for i, f := range fields {
		if err := s.column(columns[i], strings.TrimSpace(f)); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *Seed) column(name, f string) error {
	switch name {
	case "user":
		s.User = f
	case "label":
		s.Label = f
	case "secret":
		s.secret = f
	case "secret_hex":
		b, err := hex.DecodeString(f)
		if err != nil {
			return errors.New("secret_hex: no hexadecimal digits")
		}
		s.secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
	case "digits":
		return s.number(name, f, func(n int) { s.Digits = n })
	case "period":
		return s.number(name, f, func(n int) { s.Period = time.Duration(n) * time.Second })
	case "algorithm":
		if f != "" {
			s.Algorithm = strings.ToUpper(f)
		}
	}
	return nil
}

func (*Seed) number(name, f string, set func(int)) error {
	if f == "" {
		return nil
	}
	n, err := strconv.Atoi(f)
	if err != nil || n < 0 || n > 1000 {
		return fmt.Errorf("%s: %q is no number that can be", name, f)
	}
	set(n)
	return nil
}

// url reads the Key Uri Format that apps take.
func (s *Seed) url(line string) error {
	k, err := otp.NewKeyFromURL(line)
	if err != nil {
		return errors.New("not an otpauth URL") // err quotes it
	}
	if k.Type() != "totp" {
		return fmt.Errorf("a token of kind %q; only totp can be taken over", cutText(k.Type(), 16))
	}
	s.User, s.secret, s.Algorithm = k.AccountName(), k.Secret(), k.Algorithm().String()
	s.Digits, s.Period = k.Digits().Length(), time.Duration(min(k.Period(), 1000))*time.Second
	return nil
}

func cutText(s string, n int) string { return string([]rune(s)[:min(n, len([]rune(s)))]) }

// check says what is wrong with a seed, and brings its secret into one form.
func (s *Seed) check() error {
	s.secret = strings.TrimRight(strings.ToUpper(strings.ReplaceAll(s.secret, " ", "")), "=")
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s.secret)
	switch {
	case s.User == "" || len(s.User) > maxSeedUser || strings.ContainsFunc(s.User, unicode.IsControl):
		return errors.New("no user")
	case err != nil, base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b) != s.secret: // lengths that cannot be, too
		return errors.New("the secret is not base32")
	case len(b) < minSeed || len(b) > maxSeed:
		return fmt.Errorf("a secret of %d octets, of %d to %d", len(b), minSeed, maxSeed)
	case s.Digits < minDigits || s.Digits > maxDigits:
		return fmt.Errorf("%d digits, of %d to %d", s.Digits, minDigits, maxDigits)
	case s.Period < minPeriod || s.Period > maxPeriod:
		return fmt.Errorf("a period of %v, of %v to %v", s.Period, minPeriod, maxPeriod)
	case s.Algorithm != "SHA1" && s.Algorithm != "SHA256" && s.Algorithm != "SHA512":
		return fmt.Errorf("algorithm %q, of SHA1, SHA256, SHA512", cutText(s.Algorithm, 16))
	case utf8.RuneCountInString(s.Label) > maxSeedLabel || strings.ContainsFunc(s.Label, unicode.IsControl):
		return fmt.Errorf("a label of more than %d characters, or with strange ones", maxSeedLabel)
	}
	return nil
}

// Import gives a user a token that another system made: ErrTooMany, ErrKnown.
func (v *Verifier) Import(ctx context.Context, now time.Time, user string, s Seed) (Token, error) {
	e, err := v.draw(now, user, s.Label)
	if err != nil {
		return Token{}, err
	}
	t := e.Token
	t.Digits, t.Period, t.Algorithm = s.Digits, int64(s.Period/time.Second), s.Algorithm
	if t.Algorithm == "SHA1" {
		t.Algorithm = ""
	}
	sealed, err := v.ring.Seal(purpose, subject(user, t.ID), []byte(s.secret))
	if err != nil {
		return Token{}, fmt.Errorf("import a token of %q: %w", user, err)
	}
	err = v.change(ctx, user, func(list []stored) ([]stored, error) {
		for _, have := range list {
			secret, err := v.ring.Open(purpose, subject(user, have.ID), have.Sealed)
			if err != nil {
				return nil, err
			}
			if strings.TrimRight(string(secret), "=") == s.secret {
				return nil, ErrKnown
			}
		}
		if len(list) >= MaxTokens {
			return nil, ErrTooMany
		}
		return append(list, stored{t, sealed}), nil
	})
	if err != nil {
		return Token{}, fmt.Errorf("import a token of %q: %w", user, err)
	}
	return t, nil
}
