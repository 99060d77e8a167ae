package service

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/cmd/internal/pki"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/radiusd"
)

func code(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRedisConfig(t *testing.T) {
	dir := t.TempDir()
	if _, err := pki.Open(dir); err != nil {
		t.Fatal(err)
	}
	ca, password, junk := config.File(filepath.Join(dir, "ca.pem")), filepath.Join(dir, "password"), filepath.Join(dir, "junk")
	write(t, password, "secret\n")
	write(t, junk, "no certificate\n")
	secret := config.PasswordRef{Secret: config.Secret{File: config.File(password)}}

	c, err := RedisConfig(&config.StoreConfig{URLs: []string{"rediss://a:6379", "rediss://b:6380"}, User: "u", Password: secret, CA: ca, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Addrs, []string{"a:6379", "b:6380"}) || c.Username != "u" || c.Password != "secret" || c.Timeout != time.Second {
		t.Errorf("%+v", c)
	}
	if c.TLS == nil || c.TLS.RootCAs == nil || c.TLS.ServerName != "" || c.TLS.InsecureSkipVerify {
		t.Errorf("TLS: %+v", c.TLS)
	}
	c, err = RedisConfig(&config.StoreConfig{URLs: []string{"redis://s:26379/3"}, Sentinel: "main", SentinelUser: "w", SentinelPassword: secret, ReplicasAck: 2})
	if c.SentinelUsername != "w" || c.SentinelPassword != "secret" || c.Password != "" || c.ReplicasAck != 2 {
		t.Errorf("%+v", c)
	}
	if err != nil || c.MasterName != "main" || c.DB != 3 || c.TLS != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for want, bad := range map[string]config.StoreConfig{
		"some URLs are redis://": {URLs: []string{"rediss://a:1", "redis://b:1"}},
		"without rediss://":      {URLs: []string{"redis://a:1"}, CA: ca},
		"holds no certificate":   {URLs: []string{"rediss://a:1"}, CA: config.File(junk)},
		"read secret":            {URLs: []string{"redis://a:1"}, Password: config.PasswordRef{Secret: config.Secret{File: "/nonexistent"}}},
		"no such file or":        {URLs: []string{"rediss://a:1"}, Cert: "/nonexistent", Key: "/nonexistent"},
		"server_name without":    {URLs: []string{"redis://a:1"}, ServerName: "a"},
		"no such file":           {URLs: []string{"rediss://a:1"}, CA: "/nonexistent"},
	} {
		if _, err := RedisConfig(&bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := OpenStore(&config.Service{}); err == nil {
		t.Error("a store of no kind")
	}
}

// A Redis that asks for our certificate, and whose own has another name than its address.
func TestRedisTLS(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := authority.Issue("redis", pki.ForServer, "redis.example.org")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := authority.Issue("radiusd", pki.ForClient, "radiusd")
	if err != nil {
		t.Fatal(err)
	}
	srv := redistest.Start(t, redistest.TLS(string(theirs.CA), string(theirs.Cert), string(theirs.Key)))
	good := config.StoreConfig{URLs: []string{srv.URL()}, CA: ours.CA, Cert: ours.Cert, Key: ours.Key, ServerName: "redis.example.org", Timeout: 5 * time.Second}
	try := func(c config.StoreConfig) error {
		t.Helper()
		rc, err := RedisConfig(&c)
		if err != nil {
			t.Fatal(err)
		}
		st, err := store.OpenRedis(rc)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		return st.Do(t.Context(), store.Seq{&store.Time{}})
	}
	if err := try(good); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(c *config.StoreConfig){
		"without our certificate": func(c *config.StoreConfig) { c.Cert, c.Key = "", "" },
		"under its address":       func(c *config.StoreConfig) { c.ServerName = "" },
		"of another authority":    func(c *config.StoreConfig) { c.CA = "" },
	} {
		bad := good
		spoil(&bad)
		if err := try(bad); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestClients(t *testing.T) {
	t.Setenv("POSTERN_TEST_SECRET", "x")
	cfg := &config.Service{Clients: []config.NASClient{
		{Name: "a", Certificates: []string{"a.example"}, RequireMessageAuthenticator: true, Strengths: []int{128}},
		{Name: "b", Secret: config.Secret{Env: "POSTERN_TEST_SECRET"}, Node: true, AllowPAP: true, CodeInPassword: true, AllowMSCHAPOverUDP: true, Strengths: []int{128, 56, 40}},
	}}
	got, err := clients(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a, b := got[0], got[1]
	if a.Require != radiusd.RequireYes || !a.Secret.IsZero() || a.Node || a.AllowPAP || a.CodeInPassword || a.AllowMSCHAPOverUDP || a.Strengths != radius.Encryption128 {
		t.Errorf("%+v", a)
	}
	if b.Require != radiusd.RequireNo || string(b.Secret.Bytes()) != "x" || !b.Node || !b.AllowPAP || !b.CodeInPassword || !b.AllowMSCHAPOverUDP ||
		b.Strengths != radius.Encryption128|radius.Encryption56|radius.Encryption40 {
		t.Errorf("%+v", b)
	}
	os.Unsetenv("POSTERN_TEST_SECRET")
	if _, err := clients(cfg); err == nil || !strings.Contains(err.Error(), "client b: ") {
		t.Errorf("without its secret: %v", err)
	}
}

// A key that neither counts at once nor is named as needing a restart would be
// ignored in silence.
func TestEveryKeyCountsOrIsNamed(t *testing.T) {
	reloadable := []string{
		"radius.deadline", "radius.radsec.ca_file", "radius.radsec.cert_file", "radius.radsec.key_file",
		"clients", "policy_file", "policy.signers_file", "policy.shadow_file", "log.level",
		"portal.cert_file", "portal.key_file", "portal.enrol_from", "portal.languages", "portal.default_language", "portal.name", "portal.mark",
		"portal.support", "portal.idle", "portal.lifetime", "portal.limits.per_source", "portal.limits.per_user", "portal.limits.connections",
		"portal.limits.connections_per_address", "posture.self_enrol",
	}
	leaves(reflect.ValueOf(new(config.Service)).Elem(), "", func(key string, set func(*config.Service)) {
		changed := new(config.Service)
		set(changed)
		named := needRestart(new(config.Service), changed)
		if want := !slices.Contains(reloadable, key); (named != "") != want {
			t.Errorf("%s: named as needing a restart %v, want %v", key, named != "", want)
		}
		if named != "" && named != key && !strings.HasPrefix(key, named+".") {
			t.Errorf("%s is named %q", key, named)
		}
	})
}

// leaves calls f for every key with what changes it.
func leaves(v reflect.Value, path string, f func(key string, set func(*config.Service)), index ...int) {
	for i := range v.NumField() {
		field, at := v.Type().Field(i), append(slices.Clone(index), i)
		key := path
		if name := field.Tag.Get("yaml"); name != "" {
			key = strings.TrimPrefix(path+"."+name, ".")
		}
		if field.Type.Kind() == reflect.Struct {
			leaves(v.Field(i), key, f, at...)
			continue
		}
		f(key, func(c *config.Service) {
			leaf := reflect.ValueOf(c).Elem().FieldByIndex(at)
			switch leaf.Kind() {
			case reflect.String:
				leaf.SetString("changed")
			case reflect.Bool:
				leaf.SetBool(true)
			case reflect.Slice:
				leaf.Set(reflect.MakeSlice(leaf.Type(), 1, 1))
			case reflect.Uint8:
				leaf.SetUint(7)
			default:
				leaf.SetInt(7)
			}
		})
	}
}

// A key ring from the environment opens what one from a file has sealed.
func TestKeyRingFromTheEnvironment(t *testing.T) {
	cfg := site(t)
	ring, err := OpenRing(cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := ring.Seal("p", "s", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(string(cfg.KeyRing))
	if err != nil {
		t.Fatal(err)
	}
	cfg.KeyRing, cfg.KeyRingEnv = "", "POSTERN_TEST_KEY_RING"
	if _, err := OpenRing(cfg, true); err == nil || !strings.Contains(err.Error(), "POSTERN_TEST_KEY_RING is not set") {
		t.Errorf("without the variable: %v", err)
	}
	t.Setenv(cfg.KeyRingEnv, string(text))
	if ring, err = OpenRing(cfg, false); err != nil {
		t.Fatal(err)
	}
	if plain, err := ring.Open("p", "s", sealed); err != nil || string(plain) != "secret" {
		t.Errorf("%q, %v", plain, err)
	}
	t.Setenv(cfg.KeyRingEnv, "no ring")
	if _, err := OpenRing(cfg, false); err == nil || strings.Contains(err.Error(), "no ring") {
		t.Errorf("what is none: %v", err)
	}
}
