package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"postern/internal/store"
	"postern/internal/store/redistest"
)

// A danger is named, with what to do, and is the exit status; without one it is 0.
func TestRedisCheck(t *testing.T) {
	s, redis := newSite(t), redistest.Start(t)
	s.fails(t, "", "the store is not Redis", "redis", "check")
	s.write(t, "radiusd.yaml", strings.Replace(s.read(t, "radiusd.yaml"), "store: {path: state/store.db}", "store: {kind: redis, timeout: 5s, urls: ['"+redis.URL()+"']}", 1))
	out := s.must(t, "", "redis", "check")
	for _, want := range []string{"primary  7.", "good     eviction", "warning  replicas", "note     transport"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	c := redis.Client()
	defer c.Close()
	if err := c.ConfigSet(context.Background(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigSet(context.Background(), "maxmemory", "100mb").Err(); err != nil {
		t.Fatal(err)
	}
	out, errs, err := s.run("", "redis", "check")
	var status exitStatus
	if !errors.As(err, &status) || status != inDanger || !strings.Contains(errs, "standalone: 1 dangers") {
		t.Errorf("%v\n%s", err, errs)
	}
	for _, want := range []string{"danger   eviction", "allkeys-lru: when memory is full", "→ maxmemory-policy noeviction"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, _, err = s.run("", "redis", "check", "-o", "json")
	if !errors.As(err, &status) || status != inDanger {
		t.Error(err)
	}
	var in struct {
		Mode     string
		Servers  []struct{ Addr, Role string }
		Findings []struct{ Level, Check, Server, Text, Advice string }
	}
	if err := json.Unmarshal([]byte(out), &in); err != nil || in.Mode != "standalone" || in.Servers[0].Addr != redis.Addr ||
		in.Findings[0].Level != "danger" || in.Findings[0].Check != "eviction" || in.Findings[0].Advice == "" {
		t.Errorf("%v\n%s", err, out)
	}
	s.fails(t, "", "go together", "redis", "check", "--user", "admin")
	redis.Kill()
	s.fails(t, "", "nobody answers", "redis", "check")
}

// The printed rule is what a user needs to pass the check.
func TestRedisACL(t *testing.T) {
	s, redis := newSite(t), redistest.Start(t)
	s.write(t, "password", "geheim\n")
	s.write(t, "radiusd.yaml", strings.Replace(s.read(t, "radiusd.yaml"), "store: {path: state/store.db}",
		"store: {kind: redis, timeout: 5s, urls: ['"+redis.URL()+"'], user: vpn, password: {secret_file: password}}", 1))
	line := strings.TrimSpace(s.must(t, "", "redis", "acl"))
	rule, found := strings.CutPrefix(line, "ACL SETUSER vpn on >PASSWORD ")
	if !found || rule != store.ACLRule() {
		t.Fatal(line)
	}
	args := []any{}
	for w := range strings.FieldsSeq(strings.Replace(line, "PASSWORD", "geheim", 1)) {
		args = append(args, w)
	}
	c := redis.Client()
	defer c.Close()
	if err := c.Do(context.Background(), args...).Err(); err != nil {
		t.Fatal(err)
	}
	if out := s.must(t, "", "redis", "check"); !strings.Contains(out, "our user may do what is needed, and nothing dangerous") {
		t.Error(out)
	}
	s.must(t, "", "session", "list")
}
