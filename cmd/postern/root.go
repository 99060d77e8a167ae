package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"postern/cmd/internal/service"
	"postern/internal/config"
)

// cli is what all commands share.
type cli struct {
	in        io.Reader
	out, errs io.Writer

	config string
	output string
	quiet  bool   // no hints
	realm  string // of a users file
}

// defaultConfig is where packages put the service's configuration.
const defaultConfig = "/etc/postern/radiusd.yaml"

// newRoot lists the commands.
func newRoot(c *cli) *cobra.Command {
	var test, version bool
	root := &cobra.Command{
		Use:           "postern",
		Short:         "Operate a Postern service",
		Long:          "postern manages the accounts, second factors, lockouts, sessions and policies of a Postern service.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if c.output != "table" && c.output != "json" {
				return fmt.Errorf("-o %s: want table or json", c.output)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case version:
				return c.version()
			case test:
				return c.test()
			}
			return cmd.Help()
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.errs)
	root.PersistentFlags().StringVar(&c.config, "config", defaultConfig, "configuration `FILE` of the service")
	root.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "`FORMAT` of what is printed: table or json")
	root.PersistentFlags().BoolVarP(&c.quiet, "quiet", "q", false, "print no hints")
	root.Flags().BoolVar(&test, "test", false, "check the service's configuration and what it points to, print every mistake, and exit")
	root.Flags().BoolVar(&version, "version", false, "print the version and exit")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		userCommand(c),
		mfaCommand(c),
		lockoutCommand(c),
		sessionCommand(c),
		nodeCommand(c),
		redisCommand(c),
		deviceCommand(c),
		policyCommand(c),
		explainCommand(c),
		adCommand(c),
		keyringCommand(c),
		versionCommand(c),
		dialCommand(c),
		labCommand(c),
		swarmCommand(c),
	)
	return root
}

// doubleDashes lets the flags that every binary of ours has be written with one dash,
// as in -config FILE. Others keep their meaning: -o json is short for --output json.
func doubleDashes(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, _, _ := strings.Cut(a, "=")
		switch name {
		case "-config", "-test", "-version":
			a = "-" + a
		}
		out = append(out, a)
	}
	return out
}

// load reads the service's configuration.
func (c *cli) load() (*config.Service, error) { return config.LoadService(c.config) }

// test is -test.
func (c *cli) test() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := service.Check(cfg); err != nil {
		return err
	}
	return c.say(map[string]any{"config": c.config, "ok": true}, "%s is right", c.config)
}

// group is a command that only has commands below it.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 { // cobra only suggests at the root
				return fmt.Errorf("unknown command %q of %q", args[0], cmd.CommandPath())
			}
			_ = cmd.Help()
			return fmt.Errorf("%q needs a command", cmd.CommandPath())
		},
	}
	g.AddCommand(subs...)
	return g
}
