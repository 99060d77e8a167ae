// Command postern-agent tells a Postern service how this computer is protected: signed
// reports over HTTPS, every ten minutes and immediately before dialling.
//
//	postern-agent enrol --server URL --ticket TICKET [--ca FILE | --pin PIN]
//	postern-agent report | run | show
//	postern-agent dial NAME | dial -- COMMAND…
//
// It holds one key, which never leaves the computer and opens nothing: it signs what the
// computer says of itself. What a report says is as true as the computer is honest.
//
// It links little and nothing of the service's: a program that everybody's computer runs
// as root or SYSTEM should be one that can be read.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"postern/cmd/postern-agent/collect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &agent{out: os.Stdout, errs: os.Stderr, machine: collect.Here(), dir: stateDir()}
	err := a.main(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	var exit exitStatus
	switch {
	case errors.As(err, &exit):
		os.Exit(int(exit))
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "postern-agent:", err)
	os.Exit(1)
}

// exitStatus is what the program ends with, when all has been said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// agent is what the commands share.
type agent struct {
	out, errs io.Writer
	machine   *collect.Machine
	dir       string // where it keeps what it keeps
}

const usage = `postern-agent tells a Postern service how this computer is protected.

  enrol --server URL --ticket TICKET   make a key, and let the service know it
  report                               send one report now, and print the answer
  run [--every 10m]                    send reports until it is stopped
  show [--json]                        print what would be sent, and why something is unknown
  dial NAME | dial -- COMMAND…         report, then dial
  status                               print the answer to the last report
  version

Each takes --help.
`

// main runs one command.
func (a *agent) main(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(a.errs, usage)
		return exitStatus(2)
	}
	commands := map[string]func(context.Context, []string) error{
		"enrol": a.enrol, "enroll": a.enrol, "report": a.report, "run": a.run, "show": a.show, "dial": a.dial, "status": a.status, "version": a.version,
	}
	switch name := args[0]; name {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(a.out, usage)
		return nil
	default:
		command, ok := commands[name]
		if !ok {
			fmt.Fprint(a.errs, usage)
			return exitStatus(2)
		}
		return command(ctx, args[1:])
	}
}

// flags is a command's own; every command takes --dir.
func (a *agent) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("postern-agent "+name, flag.ContinueOnError)
	f.SetOutput(a.errs)
	f.StringVar(&a.dir, "dir", a.dir, "`DIRECTORY` of its key and state")
	return f
}

// parse reads the flags of a command that takes nothing else.
func parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return exitStatus(2) // it was printed
	case f.NArg() > 0:
		return fmt.Errorf("%s: what is %q?", f.Name(), f.Arg(0))
	}
	return nil
}

func (a *agent) version(context.Context, []string) error {
	v := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	fmt.Fprintf(a.out, "postern-agent %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
