// Package daemon is what postern-gateway and postern-radiusd have in common as
// processes: the flags, signals, the limit of open files, and the word to systemd.
package daemon

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Flags are the flags every binary has; -x and --x are the same.
type Flags struct {
	Config  string // -config FILE
	Test    bool   // -test: check the configuration and exit
	Health  bool   // -health: ask the process that runs with this configuration, and exit
	Version bool   // -version
}

// ErrHelp: the flags asked for help, which was given.
var ErrHelp = flag.ErrHelp

// ReadFlags reads a command line. What is wrong with it was told to errs with the
// usage.
func ReadFlags(program, does string, args []string, errs io.Writer) (Flags, error) {
	var f Flags
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(errs)
	set.StringVar(&f.Config, "config", "", "configuration `FILE`")
	set.BoolVar(&f.Test, "test", false, "check the configuration and what it points to, print every mistake, and exit")
	set.BoolVar(&f.Health, "health", false, "ask the process that runs with this configuration whether it is well (metrics.listen), and exit")
	set.BoolVar(&f.Version, "version", false, "print the version and exit")
	set.Usage = func() {
		fmt.Fprintf(errs, "%s %s.\n\nusage: %s -config FILE [-test | -health]\n", program, does, program)
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return f, err
	}
	var err error
	switch {
	case set.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	case f.Config == "" && !f.Version:
		err = errors.New("-config FILE is missing")
	}
	if err != nil {
		fmt.Fprintf(errs, "%s: %v\n", program, err)
		set.Usage()
	}
	return f, err
}
