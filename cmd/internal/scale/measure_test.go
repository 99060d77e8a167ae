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

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/swarm"
	"postern/internal/store/redistest"
)

// usage is what services and Redis have used until now.
type usage struct {
	service, redis    float64 // seconds of CPU
	scripts, commands float64 // commands: also those in scripts
	in, out           float64 // octets, as Redis sees them
	memory            float64
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
	info, err := c.InfoMap(t.Context(), "cpu", "stats", "memory", "commandstats").Result()
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
	u.memory += number("Memory", "used_memory")
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

// since is what was used from then to now.
func (u usage) since(then usage) usage {
	d := usage{
		service: u.service - then.service, redis: u.redis - then.redis, scripts: u.scripts - then.scripts, commands: u.commands - then.commands,
		in: u.in - then.in, out: u.out - then.out, memory: u.memory - then.memory, at: u.at,
	}
	for i := range u.perServer {
		d.busiest = max(d.busiest, u.perServer[i]-then.perServer[i])
	}
	return d
}

// load is a `postern swarm radius` that runs.
type load struct {
	cmd    *exec.Cmd
	result string
	said   *strings.Builder
}

func (s *site) load(t *testing.T, args ...string) *load {
	t.Helper()
	l := &load{result: s.path("result.json"), said: &strings.Builder{}}
	args = append([]string{"-q", "swarm", "radius", "--json", l.result, "--tolerate", "100", "--timeout", "5s"}, append(args, s.where...)...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	l.cmd = exec.CommandContext(ctx, cmdtest.Path("postern"), args...)
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
