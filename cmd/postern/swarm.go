package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/cmd/internal/swarm"
)

// How a swarm ends, beside 0 and 1. Scripts ask.
const (
	swarmShort exitStatus = 2 // more than tolerated came to nothing
	swarmWrong exitStatus = 3 // a wrong result
)

func swarmCommand(c *cli) *cobra.Command {
	g := group("swarm", "Make load: many clients, many logins, measured and checked", swarmPPTP(c), swarmRadius(c), swarmUsers(c))
	g.Long = `Make load on a service or on its nodes, to know what they bear before users find out.

Everything that comes back is checked: an Accept must prove to know the password, its keys
must be the password's, no two live sessions may have one address. What is not so is a wrong
result, and there must be none, whatever the load.

The exit status is 0 if all was as it should be, 2 if more than --tolerate percent of the logins
were refused or not answered or of the sessions cut, 3 if there was a wrong result, 1 if it could
not be run. Ctrl-C ends sessions as clients should; a second one ends at once.`
	return g
}

// swarmFlags are those of all that make load.
type swarmFlags struct {
	users, separator, json string
	tolerate               float64
}

func (f *swarmFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.users, "users", "", "`FILE` of user,password[,totp], readable by its owner only (postern swarm users makes one)")
	fl.StringVar(&f.separator, "separator", "+", "`TEXT` between a user's name and the code")
	fl.StringVar(&f.json, "json", "", "write the result to `FILE`, too")
	fl.Float64Var(&f.tolerate, "tolerate", 0, "`PERCENT` of logins that may come to nothing, and of sessions that may be cut")
	_ = cmd.MarkFlagRequired("users")
	_ = cmd.MarkFlagFilename("users", "csv")
	_ = cmd.MarkFlagFilename("json", "json")
}

func (f *swarmFlags) check() error {
	if f.tolerate < 0 || f.tolerate > 100 {
		return fmt.Errorf("--tolerate %g: 0 to 100 wanted", f.tolerate)
	}
	return nil
}

// swarmRun is a kind of load: it runs until it is done or polite ends, or at once when
// ctx does.
type swarmRun func(ctx, polite context.Context, t *swarm.Tally) (*swarm.Result, error)

// runSwarm runs it, with progress for people, and says what came of it.
func (c *cli) runSwarm(polite context.Context, f *swarmFlags, main swarm.Step, run swarmRun) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(polite))
	defer cancel()
	stop := secondSignal(polite, c, cancel)
	defer stop()
	t := swarm.NewTally()
	done := c.watchSwarm(t, main)
	res, err := run(ctx, polite, t)
	done()
	if res == nil {
		return err
	}
	if f.json != "" {
		err = errors.Join(err, writeResult(f.json, res))
	}
	if err := errors.Join(err, c.show(res, func(w *tabwriter.Writer) { res.Print(w) })); err != nil {
		return err
	}
	switch res.Verdict(f.tolerate / 100) {
	case swarm.Corrupt:
		return swarmWrong
	case swarm.Short:
		return swarmShort
	case swarm.Right, swarm.VerdictUnknown:
	}
	return nil
}

// secondSignal lets a second Ctrl-C end what the first one only asked to.
func secondSignal(polite context.Context, c *cli, end context.CancelFunc) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	over := make(chan struct{})
	gone := make(chan struct{})
	go func() { // stop waits
		defer close(gone)
		select {
		case <-polite.Done():
			c.hint("Sessions end; once more to end at once.")
		case <-over:
			return
		}
		// The first one comes here, too, unless nobody sent one.
		for n := 0; n < 2; n++ {
			select {
			case <-signals:
			case <-over:
				return
			}
		}
		end()
	}()
	return func() {
		signal.Stop(signals)
		close(over)
		<-gone
	}
}

// How often progress is shown: at a terminal one line is written over, elsewhere, in
// a log, each has its own.
const (
	swarmTick    = time.Second
	swarmLogTick = 10 * time.Second
)

// watchSwarm shows how far it is until done is called.
func (c *cli) watchSwarm(t *swarm.Tally, main swarm.Step) (done func()) {
	if c.quiet {
		return func() {}
	}
	f, ok := c.errs.(*os.File)
	live := ok && term.IsTerminal(int(f.Fd()))
	tick, before, after := swarmLogTick, "", "\n"
	if live {
		tick, before, after = swarmTick, "\r\x1b[K", ""
	}
	over, gone := make(chan struct{}), make(chan struct{})
	go func() { // done waits
		defer close(gone)
		began := time.Now()
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprint(c.errs, before+t.Line(time.Since(began), main)+after)
			case <-over:
				fmt.Fprint(c.errs, before)
				return
			}
		}
	}()
	return func() { close(over); <-gone }
}

// writeResult replaces the file in one step.
func writeResult(path string, res *swarm.Result) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".swarm-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	e := json.NewEncoder(f)
	e.SetIndent("", "  ")
	if err := errors.Join(e.Encode(res), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// bitRate is a flag: 10kbit, 1.5mbit, 300bit.
type bitRate uint64

var bitUnits = []struct {
	name string
	bits float64
}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

// String implements pflag.Value.
func (r *bitRate) String() string {
	for _, u := range bitUnits {
		if n := uint64(u.bits); uint64(*r) >= n && uint64(*r)%n == 0 {
			return strconv.FormatUint(uint64(*r)/n, 10) + u.name
		}
	}
	return "0"
}

// Type implements pflag.Value.
func (*bitRate) Type() string { return "RATE" }

// Set implements pflag.Value.
func (r *bitRate) Set(s string) error {
	if s == "0" {
		*r = 0
		return nil
	}
	for _, u := range bitUnits {
		number, ok := strings.CutSuffix(strings.ToLower(s), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n*u.bits >= 1 && n*u.bits <= 1e10) {
			break
		}
		*r = bitRate(n * u.bits)
		return nil
	}
	return errors.New("want a rate such as 10kbit, 1.5mbit or 0")
}

// codesHint tells when codes, of which each opens one login, bound the rate asked for.
func (c *cli) codesHint(users []swarm.User, rate float64) {
	if most, bounded := swarm.CodeRate(users); bounded && rate > most {
		c.hint("%d users with codes make %.1f logins/s at most, for each code opens one login: fewer than --rate asks for.", len(users), most)
	}
}
