package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/activation"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

// activateFlags are what the commands have that change what is in force.
type activateFlags struct {
	comment string
	yes     bool
	wait    time.Duration
}

func (f *activateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.comment, "comment", "", "`WHY`, for the history")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&f.wait, "wait", 10*time.Second, "how long to wait for the services; 0s is not at all")
}

// withDesk opens the desk of a site whose services take their policy from the store.
func (c *cli) withDesk(f func(cfg *config.Service, st store.Store, d *activation.Desk) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		if cfg.PolicySource.From != config.PolicyFromStore {
			return fmt.Errorf("policy.from is %v: each service takes its policy from policy_file, at a reload or as policy.watch says; nothing is activated", cfg.PolicySource.From)
		}
		return f(cfg, st, activation.NewDesk(st))
	})
}

func policyActivate(c *cli) *cobra.Command {
	var flags activateFlags
	var shadow bool
	cmd := &cobra.Command{
		Use:   "activate [FILE]",
		Short: "Put a policy in force at all services",
		Long: `activate reads a policy, runs its tests, looks for what check calls an error, and for its
signature where policy.signers_file asks for one. It shows what changes, asks, puts the
policy in force and waits until every service has switched. With --shadow the policy is
asked beside the one in force instead, and decides nothing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.policyFile(args)
			if err != nil {
				return err
			}
			return c.withDesk(func(cfg *config.Service, _ store.Store, d *activation.Desk) error {
				return c.activate(cmd.Context(), cfg, d, name, shadow, &flags)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&shadow, "shadow", false, "only ask it beside the policy in force")
	return cmd
}

// activate is policy activate.
func (c *cli) activate(ctx context.Context, cfg *config.Service, d *activation.Desk, name string, shadow bool, flags *activateFlags) error {
	by := activation.By{Who: whoAmI(), From: activation.Origin(name), Comment: flags.comment}
	base, err := d.State(ctx)
	if err != nil {
		return err
	}
	gate, err := service.OpenGate(cfg, nil)
	if err != nil {
		return err
	}
	gate.Strict = true
	b, err := activation.Collect(name, activation.ReadFile)
	if err != nil {
		return err
	}
	p, signer, err := gate.Open(&b, time.Now())
	if err != nil {
		e := activation.Event{Action: activation.Refused, Who: by.Who, From: by.From, Comment: by.Comment, Before: base.Active.Version, Error: err.Error()}
		return errors.Join(err, d.Refuse(ctx, &e))
	}
	if !shadow && base.Active.Sum == b.Sum() {
		return c.say(map[string]any{"version": p.Version(), "serial": base.Serial, "done": false}, "version %s is in force already", p.Version())
	}
	before, err := c.inForce(ctx, d, base)
	if err != nil {
		return err
	}
	c.announce(name, before, p, signer)
	what := "activate"
	if shadow {
		what = "shadow"
	}
	if err := c.sure(flags.yes, "Type %s to do it: ", what); err != nil {
		return err
	}
	act := d.Activate
	if shadow {
		act = d.Propose
	}
	state, err := act(ctx, base, b, p, by)
	if err != nil {
		return activationError(err)
	}
	return c.awaitServices(ctx, d, state, before, p, shadow, flags.wait)
}

// activationError says what to do about one.
func activationError(err error) error {
	if errors.Is(err, activation.ErrChanged) {
		return fmt.Errorf("%w, and nothing was changed: see postern policy history, and try again", err)
	}
	return err
}

// inForce is the policy that is activated; nil: there is none, or it does not load any more.
func (c *cli) inForce(ctx context.Context, d *activation.Desk, s activation.State) (*policy.Policy, error) {
	if !s.Active.Set() {
		return nil, nil
	}
	_, b, err := d.Bundle(ctx, s.Active.Version)
	if err != nil {
		return nil, err
	}
	p, err := policy.LoadFiles(b.Files)
	if err != nil {
		c.hint("What is in force does not load here, so that it cannot be compared: %v", err)
		return nil, nil
	}
	return p, nil
}

// announce says what will change.
func (c *cli) announce(name string, before, p *policy.Policy, signer string) {
	if c.output == "json" {
		return
	}
	signed := ""
	if signer != "" {
		signed = ", signed by " + visible(signer)
	}
	fmt.Fprintf(c.out, "%s: version %s, %d tests pass%s\n", visible(name), p.Version(), len(p.RunTests()), signed)
	switch {
	case before == nil:
		fmt.Fprintln(c.out, "nothing was activated before")
	case before.Version() == p.Version():
		fmt.Fprintln(c.out, "the same version is in force")
	default:
		fmt.Fprintf(c.out, "in place of version %s\n%s", before.Version(), orNoChange(policy.Diff(before, p).String()))
	}
}

func orNoChange(diff string) string {
	if diff == "" {
		return "nothing that counts is different\n"
	}
	return diff
}

// whoAmI is who asks, for the history.
func whoAmI() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && os.Geteuid() == 0 {
		name = by + " (as " + name + ")"
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func policyRollback(c *cli) *cobra.Command {
	var flags activateFlags
	cmd := &cobra.Command{
		Use:   "rollback [VERSION]",
		Short: "Put a policy in force again that was before",
		Long: `rollback puts the version in force that was before the one that is, or the one that is
named; its first digits are enough. The last 50 versions are kept.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withDesk(func(cfg *config.Service, _ store.Store, d *activation.Desk) error {
				return c.rollback(cmd.Context(), cfg, d, strings.Join(args, ""), &flags)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// rollback is policy rollback.
func (c *cli) rollback(ctx context.Context, cfg *config.Service, d *activation.Desk, version string, flags *activateFlags) error {
	base, err := d.State(ctx)
	if err != nil {
		return err
	}
	if version, err = d.Target(ctx, base, version); err != nil {
		return err
	}
	_, b, err := d.Bundle(ctx, version)
	if err != nil {
		return err
	}
	gate, err := service.OpenGate(cfg, nil)
	if err != nil {
		return err
	}
	p, signer, err := gate.Open(&b, time.Now())
	if err != nil {
		return fmt.Errorf("version %s cannot be put in force any more: %w", version, err)
	}
	before, err := c.inForce(ctx, d, base)
	if err != nil {
		return err
	}
	c.announce(b.Files[0].Name, before, p, signer)
	if err := c.sure(flags.yes, "Type %s to do it: ", "rollback"); err != nil {
		return err
	}
	state, err := d.Rollback(ctx, base, version, activation.By{Who: whoAmI(), Comment: flags.comment})
	if err != nil {
		return activationError(err)
	}
	return c.awaitServices(ctx, d, state, before, p, false, flags.wait)
}

func policyWithdraw(c *cli) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use:   "withdraw",
		Short: "End the candidate of activate --shadow",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withDesk(func(_ *config.Service, _ store.Store, d *activation.Desk) error {
				base, err := d.State(cmd.Context())
				if err != nil {
					return err
				}
				if !base.Candidate.Set() {
					return errors.New("there is no candidate")
				}
				if _, err := d.Withdraw(cmd.Context(), base, activation.By{Who: whoAmI(), Comment: comment}); err != nil {
					return activationError(err)
				}
				return c.say(map[string]any{"version": base.Candidate.Version, "done": true}, "version %s is not asked any more", base.Candidate.Version)
			})
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "`WHY`, for the history")
	return cmd
}

// switchedJSON is a service after an activation.
type switchedJSON struct {
	Service string        `json:"service"`
	Version string        `json:"version"`
	OK      bool          `json:"ok"`
	After   time.Duration `json:"after_ns,omitempty"` // how long it took
	Error   string        `json:"error,omitempty"`
}

// awaitServices waits until all services have what was activated, and tells which do.
func (c *cli) awaitServices(ctx context.Context, d *activation.Desk, s activation.State, before, p *policy.Policy, shadow bool, wait time.Duration) error {
	began := time.Now()
	seen := make(map[string]switchedJSON)
	for {
		services, err := d.Services(ctx)
		if err != nil {
			return err
		}
		took, missing := time.Since(began), 0
		for _, one := range services {
			has := one.Version
			if shadow {
				has = one.Candidate
			}
			x := switchedJSON{Service: one.Name, Version: has, OK: has == p.Version(), Error: one.Error}
			switch was, known := seen[one.ID]; {
			case known && (was.OK || was.Error != ""):
				continue
			case one.Serial < s.Serial:
				x.OK, x.Error = false, ""
				missing++
			case x.OK:
				x.After, x.Error = took, ""
			case x.Error == "":
				x.Error = "refused: see its log"
			}
			seen[one.ID] = x
		}
		if missing == 0 || took >= wait {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return c.showSwitched(s, before, p, seen, wait)
}

func (c *cli) showSwitched(s activation.State, before, p *policy.Policy, seen map[string]switchedJSON, wait time.Duration) error {
	list, wrong := []switchedJSON{}, 0
	for _, x := range seen {
		if list = append(list, x); !x.OK {
			wrong++
		}
	}
	slices.SortFunc(list, func(a, b switchedJSON) int { return strings.Compare(a.Service, b.Service) })
	v := map[string]any{"version": p.Version(), "serial": s.Serial, "done": true, "services": list}
	if before != nil {
		v["before"], v["changes"] = before.Version(), policy.Diff(before, p)
	}
	err := c.show(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "version %s, serial %d\n", p.Version(), s.Serial)
		for _, x := range list {
			said := "after " + x.After.Round(time.Millisecond).String()
			switch {
			case x.Error != "":
				said = "REFUSED: " + visible(strings.SplitN(x.Error, "\n", 2)[0])
			case !x.OK:
				said = "not yet"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", visible(x.Service), orDash(x.Version), said)
		}
	})
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		c.hint("No service is running; those that start take it up.")
	case wrong > 0 && wait > 0:
		return fmt.Errorf("%d of %d services have not switched; they go on with what they have", wrong, len(list))
	}
	return nil
}
