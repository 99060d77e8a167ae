package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/swarm"
	"postern/internal/store/redistest"
)

// usage is what services and Redis have used until now.
type usage struct {
	service, redis    float64 // seconds of CPU
	scripts, commands float64 // commands: also those in scripts
	in, out           float64 // octets, as Redis sees them
	busiest           float64 // seconds of CPU of the Redis server that used most
	perServer         []float64
	at                time.Time
}

// clockTicks are of /proc/PID/stat (proc(5)): 100 a second on every Linux port of Go.
const clockTicks = 100

// cpu is what a process has used.
func cpu(t *testing.T, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest) // from field 3, the state, on; utime and stime are 14 and 15
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("%s: %v, %v", b, err1, err2)
	}
	return (user + system) / clockTicks
}

func (s *site) usage(t *testing.T, servers []*redistest.Server) usage {
	t.Helper()
	u := usage{at: time.Now()}
	for _, p := range s.services {
		u.service += cpu(t, p.PID())
	}
	for _, r := range servers {
		used := u.add(t, r)
		u.redis += used
		u.perServer = append(u.perServer, used)
	}
	return u
}

// add adds what a server's INFO says, and returns its CPU.
func (u *usage) add(t *testing.T, r *redistest.Server) (used float64) {
	t.Helper()
	c := r.Client()
	defer c.Close()
	info, err := c.InfoMap(t.Context(), "cpu", "stats", "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	number := func(section, key string) float64 {
		f, err := strconv.ParseFloat(info[section][key], 64)
		if err != nil {
			t.Fatalf("INFO %s %s: %v", section, key, err)
		}
		return f
	}
	u.in += number("Stats", "total_net_input_bytes")
	u.out += number("Stats", "total_net_output_bytes")
	for command, text := range info["Commandstats"] {
		calls, _, _ := strings.Cut(strings.TrimPrefix(text, "calls="), ",")
		n, err := strconv.ParseFloat(calls, 64)
		if err != nil {
			t.Fatalf("%s: %s", command, text)
		}
		switch command {
		case "cmdstat_evalsha", "cmdstat_fcall":
			u.scripts += n
		}
		u.commands += n
	}
	return number("CPU", "used_cpu_user") + number("CPU", "used_cpu_sys")
}

// memory is what all keys of a server take, in octets, without the server's own buffers.
func memory(t *testing.T, r *redistest.Server) (sum float64) {
	t.Helper()
	c := r.Client()
	defer c.Close()
	for cursor := uint64(0); ; {
		keys, next, err := c.Scan(t.Context(), cursor, "*", 1000).Result()
		if err != nil {
			t.Fatal(err)
		}
		pipe := c.Pipeline()
		for _, k := range keys {
			pipe.MemoryUsage(t.Context(), k, 0)
		}
		all, _ := pipe.Exec(t.Context()) // a key may have expired since, and counts nothing
		for _, one := range all {
			if m, ok := one.(*redis.IntCmd); ok {
				sum += float64(m.Val())
			}
		}
		if cursor = next; cursor == 0 {
			return sum
		}
	}
}

// since is what was used from then to now.
func (u usage) since(then usage) usage {
	d := usage{
		service: u.service - then.service, redis: u.redis - then.redis, scripts: u.scripts - then.scripts, commands: u.commands - then.commands,
		in: u.in - then.in, out: u.out - then.out, at: u.at,
	}
	for i := range u.perServer {
		d.busiest = max(d.busiest, u.perServer[i]-then.perServer[i])
	}
	return d
}

// load is a `postern swarm` that runs.
type load struct {
	cmd    *exec.Cmd
	result string
	said   *strings.Builder
}

func (s *site) load(t *testing.T, args ...string) *load {
	t.Helper()
	return s.swarm(t, "radius", append(append(args, "--timeout", "5s"), s.where...))
}

// dial is a `postern swarm pptp` that runs.
func (s *site) dial(t *testing.T, args ...string) *load {
	t.Helper()
	return s.swarm(t, "pptp", append(args, "--users", s.path("load.csv")))
}

func (s *site) swarm(t *testing.T, mode string, args []string) *load {
	t.Helper()
	l := &load{result: s.path("result.json"), said: &strings.Builder{}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	l.cmd = exec.CommandContext(ctx, cmdtest.Path("postern"), append([]string{"-q", "swarm", mode, "--json", l.result, "--tolerate", "100"}, args...)...)
	l.cmd.Stdout, l.cmd.Stderr = l.said, l.said
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// wait returns what came of it; a wrong result or a login that came to nothing fails
// the test.
func (l *load) wait(t *testing.T) *swarm.Result {
	t.Helper()
	if err := l.cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, l.said)
	}
	b, err := os.ReadFile(l.result)
	if err != nil {
		t.Fatal(err)
	}
	var r swarm.Result
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	if r.Wrong+r.Refused+r.Unanswered+r.Broken+r.Cut+r.Unaccounted > 0 || r.Accepted == 0 {
		t.Errorf("not all was as it should be:\n%s", l.said)
	}
	return &r
}

// step is a step's figures.
func step(r *swarm.Result, name string) swarm.Timing {
	for _, s := range r.Steps {
		if s.Step == name {
			return s
		}
	}
	return swarm.Timing{Step: name}
}
