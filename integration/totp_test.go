//go:build integration

package integration

import (
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// token computes one-time codes as an authenticator app does, and never the same
// twice: the service takes each code once. Two can be had in a row, the current
// one and, by the service's drift window, the next; for more it waits.
type token struct {
	key  *otp.Key
	last uint64 // step of the code given last
}

func newToken(t *testing.T, url string) *token {
	t.Helper()
	key, err := otp.NewKeyFromURL(url)
	if err != nil {
		t.Fatalf("POSTERN_TOTP_URL: %v", err)
	}
	return &token{key: key}
}

func (k *token) code(t *testing.T) string {
	t.Helper()
	period := k.key.Period()
	now := uint64(time.Now().Unix())
	step := max(now/period, k.last+1)
	if early := int64(step-1)*int64(period) - int64(now); early > 0 {
		time.Sleep(time.Duration(early) * time.Second)
	}
	k.last = step
	code, err := hotp.GenerateCodeCustom(k.key.Secret(), step, hotp.ValidateOpts{
		Digits: k.key.Digits(), Algorithm: k.key.Algorithm(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return code
}
