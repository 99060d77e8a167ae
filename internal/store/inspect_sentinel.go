package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// leastSentinels outvote the loss of one.
const leastSentinels = 3

// sentinels looks at every configured Sentinel and at what they watch.
func (in *inspector) sentinels(ctx context.Context) {
	primary := map[string][]string{} // address → who says so
	known := 0
	for _, addr := range in.conf.Addrs {
		o := in.client(addr, true).Options()
		o.Username, o.Password, o.DB = in.conf.SentinelUsername, in.conf.SentinelPassword, 0
		c := redis.NewSentinelClient(o)
		at, err := c.GetMasterAddrByName(ctx, in.conf.MasterName).Result()
		if err != nil {
			if errors.Is(err, redis.Nil) {
				err = fmt.Errorf("it knows no %q", in.conf.MasterName)
			}
			in.errs = append(in.errs, fmt.Errorf("%s: %w", addr, err))
			in.find(Danger, CheckSentinel, addr, "%v", err).advise("store.sentinel_master is the name in its sentinel monitor line; store.sentinel_user and sentinel_password if it wants some")
			c.Close()
			continue
		}
		p := net.JoinHostPort(at[0], at[1])
		primary[p] = append(primary[p], addr)
		if text, err := c.CkQuorum(ctx, in.conf.MasterName).Result(); err != nil {
			in.find(Danger, CheckSentinel, addr, "nobody would take over: %v", err)
		} else {
			in.find(Good, CheckSentinel, addr, "%s", strings.TrimPrefix(text, "OK "))
		}
		if others, err := c.Sentinels(ctx, in.conf.MasterName).Result(); err == nil {
			known = max(known, len(others)+1)
		}
		c.Close()
	}
	if len(primary) > 1 {
		in.find(Danger, CheckSentinel, "", "the sentinels do not agree who the primary is: %v", primary)
	}
	if known > 0 && known < leastSentinels {
		in.find(Warning, CheckSentinel, "", "%d sentinels: if one is lost with the primary, nobody takes over", known).advise("three, on three machines")
	}
	if known > len(in.conf.Addrs) {
		in.find(Note, CheckSentinel, "", "there are %d sentinels, and store.urls names %d", known, len(in.conf.Addrs))
	}
	best := ""
	for p, who := range primary {
		if best == "" || len(who) > len(primary[best]) {
			best = p
		}
	}
	if best == "" {
		return
	}
	f := in.server(ctx, best)
	if f == nil {
		return
	}
	if f.role != "primary" {
		in.find(Danger, CheckSentinel, best, "the sentinels call it the primary, and it is a %s", f.role)
	}
	in.followers(ctx, f)
	in.replicas(f)
}
