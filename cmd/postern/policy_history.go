package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/authz/activation"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

func policyHistory(c *cli) *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List who activated what, and what was refused",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(func(_ *config.Service, st store.Store) error {
				events, err := activation.NewDesk(st).History(cmd.Context(), n)
				if err != nil {
					return err
				}
				return c.show(events, func(w *tabwriter.Writer) {
					fmt.Fprintln(w, "TIME\tACTION\tBEFORE\tAFTER\tWHO\tFROM\tCOMMENT")
					for _, e := range events {
						said := e.Comment
						if e.Error != "" {
							said = strings.SplitN(e.Error, "\n", 2)[0]
						}
						if e.Service != "" {
							said = "at " + e.Service + ": " + said
						}
						fmt.Fprintf(w, "%s\t%v\t%s\t%s\t%s\t%s\t%s\n", moment(e.At), e.Action, orDash(e.Before), orDash(e.After), visible(e.Who), visible(e.From), visible(said))
					}
				})
			})
		},
	}
	cmd.Flags().IntVarP(&n, "number", "n", 20, "`HOW MANY` of the last ones")
	return cmd
}

func policyStatus(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show which policy is activated, and which the services have",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withDesk(func(_ *config.Service, _ store.Store, d *activation.Desk) error {
				s, err := d.State(cmd.Context())
				if err != nil {
					return err
				}
				services, err := d.Services(cmd.Context())
				if err != nil {
					return err
				}
				return c.show(map[string]any{"serial": s.Serial, "active": s.Active, "candidate": s.Candidate, "services": services}, func(w *tabwriter.Writer) {
					printPin(w, "active", &s.Active)
					printPin(w, "candidate", &s.Candidate)
					fmt.Fprintln(w, "\nSERVICE\tVERSION\tCANDIDATE\tSINCE\tTROUBLE")
					for _, one := range services {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(one.Name), orDash(one.Version), orDash(one.Candidate), moment(one.Since), visible(strings.SplitN(one.Error, "\n", 2)[0]))
					}
				})
			})
		},
	}
}

func printPin(w *tabwriter.Writer, as string, p *activation.Pin) {
	if !p.Set() {
		fmt.Fprintf(w, "%s\t-\n", as)
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%v by %s at %s, from %s\t%s\n", as, p.Version, p.Action, visible(p.Who), moment(p.At), visible(p.From), visible(p.Comment))
}

func policyShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show [VERSION]",
		Short: "Print the policy that is activated, or one that was",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withStore(func(_ *config.Service, st store.Store) error {
				d := activation.NewDesk(st)
				version := strings.Join(args, "")
				if version == "" {
					s, err := d.State(cmd.Context())
					if err != nil {
						return err
					}
					if version = s.Active.Version; version == "" {
						return errors.New("nothing is activated: policy_file is in force, if anything is")
					}
				}
				version, b, err := d.Bundle(cmd.Context(), version)
				if err != nil {
					return err
				}
				return c.showBundle(version, &b)
			})
		},
	}
}

// showBundle prints a policy's files so that one alone can be written back to a file.
func (c *cli) showBundle(version string, b *activation.Bundle) error {
	if c.output == "json" {
		type file struct {
			Name string `json:"name"`
			Text string `json:"text"`
		}
		files := make([]file, len(b.Files))
		for i, f := range b.Files {
			files[i] = file{f.Name, string(f.Text)}
		}
		return c.show(map[string]any{"version": version, "sum": b.Sum(), "files": files, "signature": string(b.Signature)}, nil)
	}
	c.hint("# version %s", version)
	for _, f := range b.Files {
		if len(b.Files) > 1 {
			fmt.Fprintf(c.out, "# ---- %s\n", f.Name)
		}
		if _, err := c.out.Write(f.Text); err != nil {
			return err
		}
	}
	return nil
}

func policyDiff(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "diff [A] [B]",
		Short: "Say in what two policies differ, as they are meant",
		Long: `diff says what B changes of A, rule by rule. Each is a file, or the version of a policy
that was activated; some first digits are enough. Without A it is the policy in force,
without B too it is policy_file that is compared with it. Comments, quotes and order where
it does not matter are no difference.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, b, err := c.compared(cmd.Context(), args)
			if err != nil {
				return err
			}
			changes := policy.Diff(a, b)
			return c.show(map[string]any{"a": a.Version(), "b": b.Version(), "changes": append(policy.Changes{}, changes...)}, func(w *tabwriter.Writer) {
				fmt.Fprint(w, orNoChange(changes.String()))
			})
		},
	}
}

// compared finds the policies of diff; the store is opened only where it is needed.
func (c *cli) compared(ctx context.Context, args []string) (a, b *policy.Policy, err error) {
	old, now := "", ""
	switch len(args) {
	case 1:
		now = args[0]
	case 2:
		old, now = args[0], args[1]
	}
	if now == "" {
		if now, err = c.policyFile(nil); err != nil {
			return nil, nil, err
		}
	}
	if old == "" {
		cfg, err := c.load()
		if err != nil {
			return nil, nil, err
		}
		if cfg.PolicySource.From != config.PolicyFromStore {
			old = string(cfg.Policy)
		}
	}
	if a, err = c.fileOrVersion(ctx, old); err != nil {
		return nil, nil, err
	}
	b, err = c.fileOrVersion(ctx, now)
	return a, b, err
}

// fileOrVersion reads a policy from a file, or by its version; "" is what is activated.
func (c *cli) fileOrVersion(ctx context.Context, name string) (p *policy.Policy, err error) {
	if _, err := os.Stat(name); name != "" && (err == nil || !errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(name, "./")) {
		_, p, err := c.loadPolicy([]string{name})
		return p, err
	}
	err = c.withStore(func(_ *config.Service, st store.Store) error {
		d := activation.NewDesk(st)
		if name == "" {
			s, err := d.State(ctx)
			if err != nil {
				return err
			}
			if name = s.Active.Version; name == "" {
				return errors.New("nothing is activated yet: name two files")
			}
		}
		_, b, err := d.Bundle(ctx, name)
		if err == nil {
			p, err = policy.LoadFiles(b.Files)
		}
		return err
	})
	return p, err
}
