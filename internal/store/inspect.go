package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Level is how bad a finding is. The zero value says nothing.
type Level uint8

const (
	LevelNone Level = iota
	Good
	Note    // to know, not to change
	Warning // worse than it should be
	Danger  // shared state may be lost or logins stop
)

func (l Level) String() string {
	switch l {
	case Good:
		return "good"
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Danger:
		return "danger"
	case LevelNone:
	}
	return "none"
}

func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Check is what an inspection looks at.
//
// Handled in: String; the table of postern redis check in deploy/RUNBOOK.md.
type Check uint8

const (
	CheckNone Check = iota
	CheckReach
	CheckVersion
	CheckSchema
	CheckRights
	CheckTransport
	CheckPersistence
	CheckEviction
	CheckMemory
	CheckLatency
	CheckClock
	CheckReplicas
	CheckCluster
	CheckSentinel
)

var checkNames = [...]string{"none", "reach", "version", "schema", "rights", "transport", "persistence", "eviction", "memory", "latency", "clock", "replicas", "cluster", "sentinel"}

func (c Check) String() string {
	if int(c) < len(checkNames) {
		return checkNames[c]
	}
	return checkNames[CheckNone]
}

func (c Check) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Finding is one thing that an inspection has found.
type Finding struct {
	Level  Level  `json:"level"`
	Check  Check  `json:"check"`
	Server string `json:"server,omitempty"` // empty: of all
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// RedisServer is what one server says of itself.
type RedisServer struct {
	Addr    string        `json:"addr"`
	Role    string        `json:"role"` // primary, replica or sentinel
	Version string        `json:"version"`
	Memory  int64         `json:"memory"` // octets
	Ping    time.Duration `json:"ping_ns"`
	Clock   time.Duration `json:"clock_ahead_ns"` // of ours
}

// Inspection is what InspectRedis found, the worst first.
type Inspection struct {
	Mode     string        `json:"mode"` // standalone, sentinel or cluster
	Schema   int           `json:"schema"`
	Servers  []RedisServer `json:"servers"`
	Findings []Finding     `json:"findings"`
}

// Worst is the worst level of all findings.
func (i *Inspection) Worst() Level {
	worst := Good
	for _, f := range i.Findings {
		worst = max(worst, f.Level)
	}
	return worst
}

// Bounds of an inspection, ours.
const (
	// oldest has XRANGE with exclusive ends and scripts that are replicated by their effects.
	oldestMajor, oldestMinor = 6, 2
	// ruled has redis.acl_check_cmd.
	ruledMajor = 7
	// pings is how often a server is asked for its latency, and probed how often a write is tried.
	// After failsEnough that fail it is known.
	pings, probed, failsEnough = 20, 20, 3
	// A login is two trips one after the other; a third of the time-out each leaves the
	// directory some time, and a tenth is what a quiet local network stays well below.
	slowShare, tightShare = 3, 10
	// A fail-over moves the store's time by as much as the clocks differ: windows and
	// deadlines move with it, and beyond half a step codes are judged wrongly.
	clocksApart, clocksFar = time.Second, 15 * time.Second
	// behind is how much a replica may lack while it is still called up to date.
	behindOctets = 1 << 20
	// fillWarn and fillDanger are shares of maxmemory in percent.
	fillWarn, fillDanger = 75, 90
)

var anySource = netip.MustParsePrefix("192.0.2.0/24")

// Asker is another user to ask servers as, for what the store's own may not read.
type Asker struct{ Username, Password string }

// InspectRedis looks at all servers that the configuration leads to and names what is
// dangerous for a store. It writes keys that go after a minute. The error is that nothing
// could be looked at.
func InspectRedis(ctx context.Context, conf RedisConfig, as *Asker) (*Inspection, error) {
	if len(conf.Addrs) == 0 {
		return nil, errors.New("inspect redis: no address")
	}
	if conf.Timeout <= 0 {
		conf.Timeout = defaultTimeout
	}
	in := &inspector{conf: conf, as: as, out: &Inspection{}}
	switch {
	case conf.MasterName != "":
		in.out.Mode = "sentinel"
		in.sentinels(ctx)
	case conf.Cluster || len(conf.Addrs) > 1:
		in.out.Mode = "cluster"
		in.cluster(ctx)
	default:
		in.out.Mode = "standalone"
		in.alone(ctx)
	}
	if len(in.servers) == 0 {
		return nil, fmt.Errorf("inspect redis: nobody answers: %w", errors.Join(in.errs...))
	}
	in.transport(ctx)
	in.clocks()
	in.store(ctx)
	slices.SortStableFunc(in.out.Findings, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
	return in.out, nil
}

// inspector goes from server to server.
type inspector struct {
	conf    RedisConfig
	as      *Asker
	out     *Inspection
	servers []*facts
	errs    []error
}

func (in *inspector) find(l Level, c Check, server, text string, args ...any) *Finding {
	in.out.Findings = append(in.out.Findings, Finding{Level: l, Check: c, Server: server, Text: fmt.Sprintf(text, args...)})
	return &in.out.Findings[len(in.out.Findings)-1]
}

func (f *Finding) advise(text string, args ...any) { f.Advice = fmt.Sprintf(text, args...) }

// client asks one server, as the store's user or as who was given.
func (in *inspector) client(addr string, own bool) *redis.Client {
	c := in.conf
	c.Addrs = []string{addr}
	o := c.options().Simple()
	if in.as != nil && !own {
		o.Username, o.Password = in.as.Username, in.as.Password
	}
	return redis.NewClient(o)
}

// alone looks at one server and the replicas it has.
func (in *inspector) alone(ctx context.Context) {
	f := in.server(ctx, in.conf.Addrs[0])
	if f == nil {
		return
	}
	if f.role == "replica" {
		in.find(Danger, CheckReplicas, f.addr, "this is a replica: it takes no writes").advise("store.urls names the primary, or sentinels with store.sentinel_master")
	}
	in.followers(ctx, f)
	in.replicas(f)
}

// followers looks at the replicas that a primary names.
func (in *inspector) followers(ctx context.Context, f *facts) {
	for _, r := range f.replicas {
		in.server(ctx, r.addr)
	}
}

// replicas judges how many a primary has.
func (in *inspector) replicas(f *facts) {
	n := 0
	for _, r := range f.replicas {
		if r.state != "online" {
			in.find(Warning, CheckReplicas, f.addr, "its replica %s is %s", r.addr, r.state)
			continue
		}
		n++
		if lacks := f.offset - r.offset; lacks > behindOctets {
			in.find(Warning, CheckReplicas, f.addr, "its replica %s is %d octets behind", r.addr, lacks)
		}
	}
	acks := in.conf.ReplicasAck
	switch {
	case n < acks:
		in.find(Danger, CheckReplicas, f.addr, "%d replicas and store.replicas_ack is %d: nothing can be written, no login succeeds", n, acks).
			advise("bring the replicas back; a smaller store.replicas_ack loses more in a fail-over")
	case n == 0:
		in.find(Warning, CheckReplicas, f.addr, "no replica: while this server is away nobody logs in, and if it is lost all that it had is").
			advise("a replica of its own and Sentinels, or Redis Cluster")
	case acks == 0:
		in.find(Note, CheckReplicas, f.addr, "%d replicas, and store.replicas_ack is 0: a fail-over forgets what was written in its last moments, used codes too", n).
			advise("store.replicas_ack: 1")
	case n == acks:
		in.find(Note, CheckReplicas, f.addr, "%d replicas, and store.replicas_ack waits for all of them: a fail-over loses nothing, and while one is away nobody logs in", n)
	default:
		in.find(Good, CheckReplicas, f.addr, "%d replicas, writes wait for %d", n, acks)
	}
}

// transport says who can listen.
func (in *inspector) transport(ctx context.Context) {
	local := true
	for _, f := range in.servers {
		host, _, err := net.SplitHostPort(f.addr)
		ip, err2 := netip.ParseAddr(host)
		local = local && (err != nil || err2 == nil && ip.IsLoopback() || host == "localhost")
	}
	switch {
	case in.conf.TLS != nil:
		in.find(Good, CheckTransport, "", "TLS")
	case local:
		in.find(Note, CheckTransport, "", "no TLS, on this machine only")
	default:
		in.find(Warning, CheckTransport, "", "no TLS: who is on the way reads and changes sessions and used codes").advise("rediss:// in store.urls, with store.ca_file")
	}
	for _, f := range in.servers {
		o := in.client(f.addr, true).Options()
		o.Username, o.Password = "", ""
		c := redis.NewClient(o)
		open := c.Ping(ctx).Err() == nil
		c.Close()
		if open && !local {
			in.find(Danger, CheckRights, f.addr, "no password: whoever reaches it may do everything").advise("a user as by postern redis acl, and: ACL SETUSER default off")
		} else if open {
			in.find(Warning, CheckRights, f.addr, "no password: every user of this machine may do everything").advise("a user as by postern redis acl, and: ACL SETUSER default off")
		}
	}
}

// clocks compares the servers' clocks with each other and with ours.
func (in *inspector) clocks() {
	low, high := in.servers[0], in.servers[0]
	for _, f := range in.servers {
		if f.clock < low.clock {
			low = f
		}
		if f.clock > high.clock {
			high = f
		}
	}
	apart := high.clock - low.clock
	ours := max(high.clock, -low.clock, low.clock, -high.clock)
	const advice = "run a time service (chrony) on every machine"
	level := func(d time.Duration) Level {
		switch {
		case d > clocksFar:
			return Danger
		case d > clocksApart:
			return Warning
		}
		return Good
	}
	if l := level(apart); l > Good {
		in.find(l, CheckClock, high.addr, "its clock is %v ahead of that of %s: a fail-over moves the store's time", apart.Round(time.Millisecond), low.addr).advise(advice)
	}
	if l := level(ours); l > Good {
		in.find(l, CheckClock, "", "this machine's clock and the servers' differ by %v: codes are judged by theirs", ours.Round(time.Millisecond)).advise(advice)
	} else if level(apart) == Good {
		in.find(Good, CheckClock, "", "the clocks agree within %v", max(ours, apart).Round(time.Millisecond))
	}
}

// store uses the store as a service would.
func (in *inspector) store(ctx context.Context) {
	st, err := OpenRedis(in.conf)
	if err != nil {
		in.find(Danger, CheckReach, "", "%v", err)
		return
	}
	defer st.Close()
	in.out.Schema = in.schema(ctx, st.(*redisStore))
	var took []time.Duration
	var failed error
	tried := 0
	for i := range probed {
		if tried++; tried-len(took) > failsEnough {
			tried--
			break
		}
		k := probes()[i%shards]
		begin := time.Now()
		if err := st.Do(ctx, Seq{&Put{Key: k, TTL: time.Minute}}); err != nil {
			failed = err
			if errors.As(err, new(NewerSchemaError)) {
				return // said already
			}
			continue
		}
		took = append(took, time.Since(begin))
	}
	if failed != nil {
		var few tooFewError
		check := CheckReach
		switch {
		case errors.As(failed, &few):
			check = CheckReplicas
		case redis.HasErrorPrefix(failed, "NOPERM") || strings.Contains(failed.Error(), "NOPERM") || strings.Contains(failed.Error(), "permissions"):
			check = CheckRights
		}
		in.find(Danger, check, "", "%d of %d writes failed: %v", tried-len(took), tried, failed)
	}
	if len(took) == 0 {
		return
	}
	in.latency("", "a write", took)
}

func (in *inspector) schema(ctx context.Context, r *redisStore) int {
	v, err := schemaVersion(ctx, r.client)
	switch {
	case err != nil:
		in.find(Danger, CheckSchema, "", "%v", err)
	case v == 0:
		in.find(Note, CheckSchema, "", "not used by a release that says its schema's version; ours is %d", Schema())
	case v > Schema():
		in.find(Danger, CheckSchema, "", "%v", NewerSchemaError{v, Schema()}).advise("use the newer release's programs, or restore a backup from before it")
	case v < Schema():
		in.find(Note, CheckSchema, "", "version %d; the first service of this release to start brings it to %d", v, Schema())
	default:
		in.find(Good, CheckSchema, "", "version %d", v)
	}
	return v
}

// latency judges durations against the time-out of one Do.
func (in *inspector) latency(server, what string, took []time.Duration) time.Duration {
	slices.Sort(took)
	median, slowest := took[len(took)/2], took[len(took)-1]
	text := "%s takes %v, at most %v of %d; store.timeout is %v"
	args := []any{what, median.Round(time.Microsecond), slowest.Round(time.Microsecond), len(took), in.conf.Timeout}
	switch {
	case slowest > in.conf.Timeout/slowShare:
		in.find(Danger, CheckLatency, server, text, args...).advise("look at SLOWLOG GET and LATENCY DOCTOR, at swapping and at the disk under the append-only file")
	case median > in.conf.Timeout/tightShare:
		in.find(Warning, CheckLatency, server, text, args...).advise("put services and Redis closer together, or raise store.timeout")
	default:
		in.find(Good, CheckLatency, server, text, args...)
	}
	return median
}
