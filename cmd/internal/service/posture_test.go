package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/authz/posture"
	"postern/authz/posture/push"
	"postern/internal/config"
)

// A token that could be guessed is none.
func TestPushTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	cfg := new(config.Service)
	keeper := posture.New(nil, posture.Config{})
	if d, err := pushes(cfg, keeper); d != nil || err != nil {
		t.Errorf("without tokens: %v, %v", d, err)
	}
	cfg.Posture.Tokens = []config.PostureToken{{Source: "intune", Secret: config.Secret{File: config.File(file)}}}
	if _, err := pushes(cfg, keeper); err == nil {
		t.Error("a file that is not there")
	}
	for secret, ok := range map[string]bool{strings.Repeat("x", push.MinToken-1): false, strings.Repeat("x", push.MinToken): true} {
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := pushes(cfg, keeper)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%d octets: %v", len(secret), err)
		}
		if ok {
			if source, o := d.Enter("Bearer "+secret, posture.Record{}.From); source != "intune" || o != push.Taken {
				t.Errorf("%q, %v", source, o)
			}
		}
	}
}
