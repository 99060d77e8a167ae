package store_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/internal/store/storetest"
)

const aclPassword = "geheim"

// aclUser makes a user with the least rights; the default one keeps all, for the test.
func aclUser() []any {
	args := []any{"acl", "setuser", "postern", "reset", "on", ">" + aclPassword}
	for word := range strings.FieldsSeq(store.ACLRule()) {
		args = append(args, word)
	}
	return args
}

// The store does all it promises with the rights of ACLRule: on one server, and in a
// cluster where each write waits for a replica.
func TestACLRule(t *testing.T) {
	t.Parallel()
	backend := func(t testing.TB, conf store.RedisConfig, empty func()) storetest.Backend {
		t.Helper()
		conf.Username, conf.Password = "postern", aclPassword
		empty()
		open := func(t testing.TB) store.Store {
			t.Helper()
			s, err := store.OpenRedis(conf)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		}
		return storetest.Backend{Store: open(t), Sleep: time.Sleep, Crash: open}
	}
	t.Run("one", func(t *testing.T) {
		t.Parallel()
		r := redistest.Start(t)
		c := r.Client()
		defer c.Close()
		if err := c.Do(ctx, aclUser()...).Err(); err != nil {
			t.Fatal(err)
		}
		storetest.SuiteOn(t, func(t testing.TB) storetest.Backend {
			return backend(t, r.Config(), func() { c.FlushAll(ctx) })
		})
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		r := redistest.StartCluster(t, 1)
		r.Everywhere(aclUser()...)
		conf := r.Config()
		conf.ReplicasAck = 1
		storetest.SuiteOn(t, func(t testing.TB) storetest.Backend {
			return backend(t, conf, func() { r.Everywhere("flushall") })
		})
	})
}

// The rule has all that the script calls, however it is written there.
func TestACLRuleHasTheScript(t *testing.T) {
	lua, err := os.ReadFile("script.lua")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?:call|pcall)\(\s*['"]?(\w+)`).FindAllStringSubmatch(string(lua), -1)
	rule := strings.Fields(store.ACLRule())
	for _, m := range all {
		if !slices.Contains(rule, "+"+strings.ToLower(m[1])) {
			t.Errorf("the rule lacks %s", m[1])
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d calls were found", len(all))
	}
}
