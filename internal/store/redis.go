package store

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

//go:embed script.lua
var scriptSource string

// RedisConfig says where Redis is. One address is a standalone server, several
// are a cluster, MasterName makes the addresses Sentinels.
type RedisConfig struct {
	Addrs      []string // host:port, or one path of a Unix socket
	MasterName string
	Cluster    bool // with one address: it is a cluster's
	Username   string
	Password   string
	// SentinelUsername and SentinelPassword are for the Sentinels alone.
	SentinelUsername string
	SentinelPassword string
	DB               int // not with a cluster
	TLS              *tls.Config

	// ReplicasAck is how many replicas must have received what a Do wrote before it
	// returns: see acked.go.
	ReplicasAck int

	// Timeout bounds a Do, waiting for a connection included. It leaves time
	// for another service to be asked before the client gives up.
	Timeout  time.Duration // 0: defaultTimeout
	PoolSize int           // 0: go-redis' choice, 10 for each CPU
}

const defaultTimeout = time.Second

// ParseRedisURL reads redis://[user:password@]host:port/db, rediss:// (TLS) and
// unix://path.
func ParseRedisURL(url string) (RedisConfig, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return RedisConfig{}, errors.New("parse Redis URL: want redis://host:port/db, rediss:// or unix://path") // err may show the password
	}
	return RedisConfig{
		Addrs: []string{o.Addr}, Username: o.Username, Password: o.Password, DB: o.DB, TLS: o.TLSConfig,
	}, nil
}

// go-redis logs on its own what it also returns; we return, the caller logs.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

type redisStore struct {
	client  redis.UniversalClient
	script  *redis.Script
	timeout time.Duration
	acks    int
	schema  schemaGate
}

// OpenRedis makes the redis back end. It does not wait for Redis: a service may
// start before its store and answers nothing until it is there.
func OpenRedis(c RedisConfig) (Store, error) {
	if len(c.Addrs) == 0 {
		return nil, errors.New("open redis store: no address")
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	c.Timeout = timeout
	return &redisStore{client: c.client(), script: redis.NewScript(scriptSource), timeout: timeout, acks: c.ReplicasAck}, nil
}

// client connects when it is first used.
func (c *RedisConfig) client() redis.UniversalClient {
	return redis.NewUniversalClient(c.options())
}

func (c *RedisConfig) options() *redis.UniversalOptions {
	timeout := c.Timeout
	return &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, IsClusterMode: c.Cluster,
		Username: c.Username, Password: c.Password, SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
		DB: c.DB, TLSConfig: c.TLS,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		ContextTimeoutEnabled: true,
		// One more try for a connection that broke while idle; operations
		// stand a repetition.
		MaxRetries: 1, MinRetryBackoff: 5 * time.Millisecond, MaxRetryBackoff: 50 * time.Millisecond,
		DialerRetries: 1, DialerRetryTimeout: 10 * time.Millisecond,
		PoolSize: c.PoolSize,
		// CLIENT SETINFO would be one more right, of Redis 7.2 and later.
		DisableIdentity: true,
		// A managed-service protocol that asks each connection at start-up;
		// plain Redis answers with an error that go-redis then logs.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (r *redisStore) Do(ctx context.Context, seqs ...Seq) error {
	for _, s := range seqs {
		if err := s.check(); err != nil {
			return unavailable("check", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.schema.ready(ctx, r); err != nil {
		return unavailable("redis", err)
	}
	run := r.run
	if r.acks > 0 {
		run = r.runAcked
	}
	missing, err := run(ctx, seqs)
	if err == nil && len(missing) > 0 {
		// A server that has just started, or a new primary, does not know the
		// script: what it refused did not run.
		if err = r.load(ctx); err == nil {
			missing, err = run(ctx, missing)
		}
		if err == nil && len(missing) > 0 {
			err = errors.New("the script does not stay loaded")
		}
	}
	if err != nil {
		return unavailable("redis", err)
	}
	return nil
}

// run sends all sequences in one pipeline and returns those that a server
// without the script refused.
func (r *redisStore) run(ctx context.Context, seqs []Seq) (missing []Seq, err error) {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.Cmd, len(seqs))
	for i, s := range seqs {
		keys, args := encode(s)
		cmds[i] = pipe.EvalSha(ctx, r.script.Hash(), keys, args...)
	}
	// The pipeline's error is that of one of its commands.
	_, _ = pipe.Exec(ctx)
	for i, cmd := range cmds {
		v, err := cmd.Slice()
		switch {
		case err != nil && redis.HasErrorPrefix(err, "NOSCRIPT"):
			missing = append(missing, seqs[i])
		case err != nil:
			return nil, err
		default:
			if err := decode(seqs[i], v); err != nil {
				return nil, err
			}
		}
	}
	return missing, nil
}

func (r *redisStore) load(ctx context.Context) error {
	if c, ok := r.client.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
			return r.script.Load(ctx, m).Err()
		})
	}
	return r.script.Load(ctx, r.client).Err()
}

func encode(s Seq) (keys []string, args []any) {
	args = make([]any, 0, 8*len(s))
	for _, op := range s {
		ks := op.keys()
		for _, k := range ks {
			keys = append(keys, k.String())
		}
		head := len(args)
		args = op.args(append(args, op.name(), len(ks), 0))
		args[head+2] = len(args) - head - 3
	}
	return keys, args
}

// decode gives each operation its results; operations behind a lost guard have
// none.
func decode(s Seq, v []any) error {
	if len(v) == 0 || len(v) > len(s) {
		return fmt.Errorf("parse script reply: %d results of %d operations", len(v), len(s))
	}
	for i := range v {
		list, ok := v[i].([]any)
		if !ok || len(list) == 0 {
			return fmt.Errorf("parse script reply: result %d is no list", i)
		}
		won := list[0] == int64(1)
		s[i].setOK(won)
		if err := s[i].decode(won, reply{v: list[1:]}); err != nil {
			return fmt.Errorf("%s: %w", s[i].name(), err)
		}
	}
	return nil
}

// channel keeps our topics apart from other users of the same Redis.
func channel(topic string) string { return "postern:" + topic }

func (r *redisStore) Watch(ctx context.Context, topic string) (<-chan string, error) {
	sub := r.client.Subscribe(ctx, channel(topic))
	first, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if _, err := sub.Receive(first); err != nil { // the confirmation
		sub.Close()
		return nil, unavailable("subscribe", err)
	}
	in := sub.Channel()
	out := make(chan string, watchQueue)
	go func() { // ends with ctx or Close; the reader waits for the closed channel
		defer close(out)
		defer sub.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case m, open := <-in:
				if !open {
					return
				}
				select {
				case out <- m.Payload:
				default: // a slow reader loses messages
				}
			}
		}
	}()
	return out, nil
}

func (r *redisStore) Close() error {
	r.schema.stop()
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close redis store: %w", err)
	}
	return nil
}
