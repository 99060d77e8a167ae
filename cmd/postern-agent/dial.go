package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"time"
)

// Times before a dial, ours: people wait for it.
const (
	reportTime  = 30 * time.Second
	requestWait = 20 * time.Second
	askEvery    = 200 * time.Millisecond
)

// dial reports, and then runs what dials. The service knows then where the login that
// follows comes from. A report that fails keeps nobody from dialling, but with --strict:
// the policy is the service's.
func (a *agent) dial(ctx context.Context, args []string) error {
	f := a.flags("dial")
	strict := f.Bool("strict", false, "do not dial when the report was not taken")
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "usage: postern-agent dial [--strict] NAME [ARGUMENT…]\n       postern-agent dial [--strict] -- COMMAND [ARGUMENT…]\n")
		f.PrintDefaults()
	}
	var command []string
	i := slices.Index(args, "--")
	if i >= 0 {
		args, command = args[:i], args[i+1:]
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return exitStatus(2)
	case i < 0 && f.NArg() > 0:
		command = append(dialler(f.Arg(0)), f.Args()[1:]...)
	case f.NArg() > 0 || len(command) == 0:
		f.Usage()
		return exitStatus(2)
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	if err := a.reportFirst(ctx); err != nil {
		if *strict {
			return fmt.Errorf("not dialled: %w", err)
		}
		fmt.Fprintln(a.errs, "postern-agent: dialling all the same:", err) // standard output may be the line itself
	}
	return become(path, command)
}

// reportFirst reports, or has the running agent report where the key is not for who
// dials.
func (a *agent) reportFirst(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	_, err := a.send(ctx)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	began := a.machine.Now()
	if err := a.request(); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(ctx, requestWait)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.New("the agent's service did not report in time: does it run?")
		case <-tick.C:
		}
		s, err := a.readStatus()
		switch {
		case err != nil || s.Time.Before(began):
		case !s.OK:
			return errors.New(s.Answer)
		default:
			return nil
		}
	}
}
