package scale

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"postern/internal/store/redistest"
)

// fullEnv asks for all of it; `make scale` does.
const fullEnv = "POSTERN_SCALE"

// interim is shorter than services ask for, so that half a minute sees many reports.
const interim = 5 * time.Second

// size is how much a case does.
type size struct {
	users    int
	logins   time.Duration // for how long they begin
	sessions int
	rate     int           // at which these begin
	window   time.Duration // in which Interims are counted
}

var (
	full  = size{users: 2000, logins: 8 * time.Second, sessions: 1500, rate: 150, window: 2 * interim}
	short = size{users: 40, logins: time.Second, sessions: 30, rate: 30, window: interim}
)

// cost is what one of something took.
type cost struct {
	service, redis, busiest float64 // ms of CPU
	scripts, commands       float64
	in, out                 float64 // octets
}

func each(u usage, n float64) cost {
	return cost{1000 * u.service / n, 1000 * u.redis / n, 1000 * u.busiest / n, u.scripts / n, u.commands / n, u.in / n, u.out / n}
}

// figures are what a case found.
type figures struct {
	store              string
	services           int
	perSecond          float64
	p50, p99           float64
	login              cost
	sessions           uint64
	interim            cost
	interims           float64 // a second
	interim50, inter99 float64
	memory             float64 // octets of Redis for each live session
	generator          float64 // ms of CPU that the load itself took, for each login
}

// run measures logins, then sessions.
func run(t *testing.T, z size, services int, servers []*redistest.Server, urls []string) figures {
	t.Helper()
	s := newSite(t, services, z.users, urls)
	s.load(t, "--rate", "0", "--count", "20", "--in-flight", "4").wait(t) // scripts are loaded, connections are made
	f := figures{services: services}

	before := s.usage(t, servers)
	l := s.load(t, "--rate", "0", "--in-flight", fmt.Sprint(min(64, z.users)), "--duration", z.logins.String())
	r := l.wait(t)
	n := float64(r.Accepted)
	f.perSecond, f.p50, f.p99 = r.PerSecond, step(r, "access").P50, step(r, "access").P99
	f.login = each(s.usage(t, servers).since(before), n)
	f.generator = 1000 * (l.cmd.ProcessState.UserTime() + l.cmd.ProcessState.SystemTime()).Seconds() / n

	// What the logins left expires within a minute, and would be in the sessions' figures.
	for _, r := range servers {
		empty(t, r)
	}
	begin := time.Duration(z.sessions) * time.Second / time.Duration(z.rate)
	l = s.load(t, "--rate", fmt.Sprint(z.rate), "--count", fmt.Sprint(z.sessions), "--accounting", "--nodes", "4", "--interim", interim.String(), "--hold", (begin + interim + z.window).String())
	time.Sleep(begin + 2*time.Second)
	for _, r := range servers {
		f.memory += memory(t, r) / float64(z.sessions)
	}
	held := s.usage(t, servers)
	time.Sleep(z.window)
	now := s.usage(t, servers)
	f.interims = float64(z.sessions) / interim.Seconds()
	f.interim = each(now.since(held), f.interims*now.at.Sub(held.at).Seconds())
	r = l.wait(t)
	x := step(r, "interim")
	f.sessions, f.interim50, f.inter99 = r.Peak, x.P50, x.P99
	if int(r.Peak) != z.sessions || x.Count < uint64(z.sessions) {
		t.Errorf("%d sessions at once, want %d; %d Interims", r.Peak, z.sessions, x.Count)
	}
	return f
}

func empty(t *testing.T, r *redistest.Server) {
	t.Helper()
	c := r.Client()
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestScale measures; what it finds is printed, and judged only for being right.
func TestScale(t *testing.T) {
	z, counts := short, []int{1}
	whole := os.Getenv(fullEnv) != ""
	if whole {
		z, counts = full, []int{1, 2, 4}
	}
	var all []figures
	for _, services := range counts {
		t.Run(fmt.Sprintf("one Redis, %d services", services), func(t *testing.T) {
			r := redistest.Start(t, redistest.Fsync("everysec"))
			f := run(t, z, services, []*redistest.Server{r}, []string{r.URL()})
			f.store = "one"
			all = append(all, f)
		})
	}
	for _, services := range counts {
		if !whole {
			break // redistest's own tests and the fault tests go through a Cluster
		}
		t.Run(fmt.Sprintf("Redis Cluster, %d services", services), func(t *testing.T) {
			c := redistest.StartCluster(t, 0, redistest.Fsync("everysec"))
			f := run(t, z, services, c.Servers, c.URLs())
			f.store = "cluster"
			all = append(all, f)
		})
	}
	if whole {
		t.Run("PPTP", dials)
	}
	t.Log(table(all))
	for _, f := range all { // a login that does not ask Redis has not been measured
		if f.login.scripts < 3 || f.interim.scripts < .5 || f.memory < 100 {
			t.Errorf("%+v", f)
		}
	}
}

// table is for people.
func table(all []figures) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("\nredis\tservices\tlogins/s\tp50 ms\tp99 ms\tCPU ms service\tCPU ms redis\tbusiest\tload\tscripts\tcommands\toctets in\tout\t")
	for _, f := range all {
		c := f.login
		p("%s\t%d\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t", f.store, f.services, f.perSecond, f.p50, f.p99,
			c.service, c.redis, c.busiest, f.generator, c.scripts, c.commands, c.in, c.out)
	}
	p("\nredis\tservices\tsessions\tinterims/s\tp50 ms\tp99 ms\tCPU ms service\tCPU ms redis\tbusiest\tscripts\tcommands\toctets in\tout\tmemory/session\t")
	for _, f := range all {
		c := f.interim
		p("%s\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f\t", f.store, f.services, f.sessions, f.interims, f.interim50, f.inter99,
			c.service, c.redis, c.busiest, c.scripts, c.commands, c.in, c.out, f.memory)
	}
	_ = w.Flush()
	return b.String()
}
