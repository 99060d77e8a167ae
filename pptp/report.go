package pptp

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/obs"
	"postern/internal/radius"
)

const (
	// reportEvery is how often a node says how it is, and hears what is wished of it.
	reportEvery = 10 * time.Second
	// reportWait bounds a report: the next one says more.
	reportWait = 8 * time.Second
)

// report tells the services how the node is (RFC 5997), and does what they want of it.
// One of them is asked, whichever comes first, for they know the same. Who does not
// answer, or answers nothing that we know, as a service of another release, changes
// nothing.
func (n *Node) report() {
	for {
		if d, err := n.status(); err != nil {
			n.log.Debug("no answer to the report", "error", err)
		} else {
			n.Do(d)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(reportEvery + time.Duration((rand.Float64()*0.2-0.1)*float64(reportEvery))):
		}
	}
}

func (n *Node) status() (radius.Duty, error) {
	ctx, cancel := context.WithTimeout(n.ctx, reportWait)
	defer cancel()
	p := &radius.Packet{Code: radius.CodeStatusServer}
	h := n.health(time.Now())
	if err := errors.Join(rfc2865.NASIdentifier_SetString(p, n.name), radius.AddNodeHealth(p, &h)); err != nil {
		return radius.Duty{}, err
	}
	reply, err := n.exchanger().Exchange(ctx, p)
	if err != nil {
		return radius.Duty{}, err
	}
	return radius.ReadDuty(reply), nil
}

// health is what the node says of itself.
func (n *Node) health(now time.Time) radius.NodeHealth {
	m := n.metrics
	h := radius.NodeHealth{
		At: now, Boot: n.boot, Version: obs.Version(), State: n.state(), Sessions: n.Sessions(), Calls: int(m.calls.Load()),
		Starting: int(m.starting.Load()), Spooled: int(m.spooled.Load()), CPUs: runtime.NumCPU(), Stray: m.drops[DropWrongNode].Load(),
	}
	for i := range m.drops {
		h.Dropped += m.drops[i].Load()
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load = loadOf(string(b))
	}
	return h
}

// loadOf reads the load average of a minute, proc(5); 0 where there is none.
func loadOf(text string) float64 {
	first, _, _ := strings.Cut(text, " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil || load < 0 {
		return 0
	}
	return load
}
