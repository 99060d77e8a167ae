package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mschap"
)

// The new password is sent where the server takes one, and nowhere else.
func TestNewPassword(t *testing.T) {
	const expired = "E=648 R=0 C=00112233445566778899AABBCCDDEEFF V=3 M=Password expired"
	hash := mschap.NTHash(users["alice"])
	for _, tt := range []struct {
		about string
		rules rules
		cfg   func(*Config)
		want  func(error) bool
	}{
		{"changed", rules{expired: expired}, func(c *Config) { c.NewPassword = "Neu-€" }, nil},
		{"changed by hash", rules{expired: expired}, func(c *Config) { c.NewPassword, c.Password, c.NTHash = "Neu-€", "", &hash }, nil},
		{"none to change to", rules{expired: expired}, func(*Config) {}, refusedAs(648)},
		{"a server that changes none", rules{expired: strings.Replace(expired, "V=3", "V=0", 1)}, func(c *Config) { c.NewPassword = "x" }, refusedAs(648)},
		{"too long", rules{expired: expired}, func(c *Config) { c.NewPassword = strings.Repeat("x", 257) },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "256 characters") }},
		{"another refusal", rules{}, func(c *Config) { c.Password, c.NewPassword = "wrong", "x" }, refusedAs(691)},
		{"an impostor", rules{expired: expired, impostor: true}, func(c *Config) { c.NewPassword = "x" },
			func(err error) bool { return errors.Is(err, ErrImpostor) }},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, tt.rules)
				cfg := l.config()
				tt.cfg(&cfg)
				s, err := Dial(t.Context(), cfg)
				if tt.want != nil {
					if !tt.want(err) {
						t.Errorf("%v", err)
					}
				} else if err != nil {
					t.Error(err)
				} else {
					l.ping(s, 1000)
					if s.cfg.Password != "" || s.cfg.NewPassword != "" || !s.PasswordChanged() {
						t.Error("passwords are kept, or the change is not told")
					}
					_ = s.Close()
				}
				pass(30 * time.Second)
				l.close()
			})
		})
	}
}

func refusedAs(code int) func(error) bool {
	return func(err error) bool {
		var r *RefusedError
		return errors.As(err, &r) && r.Verdict.Code == code
	}
}
