package main

import (
	"errors"
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/lockout"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

func lockoutCommand(c *cli) *cobra.Command {
	return group("lockout", "Failed logins and what they lock", lockoutShow(c), lockoutClear(c))
}

// counterJSON is one counter as programs see it.
type counterJSON struct {
	What     string    `json:"what"`
	Failures int       `json:"failures"`
	Last     time.Time `json:"last,omitzero"`
	Strikes  int       `json:"strikes"`
	Struck   time.Time `json:"struck,omitzero"`
}

type verdictJSON struct {
	Allowed bool      `json:"allowed"`
	Locked  string    `json:"locked,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

func verdict(v lockout.Verdict) verdictJSON {
	if v.Scope == lockout.ScopeNone {
		return verdictJSON{Allowed: v.Allowed}
	}
	return verdictJSON{v.Allowed, v.Scope.String(), v.Until}
}

func (v verdictJSON) String() string {
	switch {
	case v.Allowed && v.Locked == "":
		return "allowed"
	case v.Allowed:
		return fmt.Sprintf("allowed from here; the %s is locked until %s", v.Locked, moment(v.Until))
	}
	return fmt.Sprintf("locked (%s) until %s", v.Locked, moment(v.Until))
}

// sourceFlag is the client's address, which pairs and sources are counted by.
type sourceFlag struct {
	text string
	addr netip.Addr
}

func (s *sourceFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.text, "source", "", "`ADDRESS` of the client")
}

func (s *sourceFlag) read() error {
	if s.text == "" {
		return nil
	}
	a, err := netip.ParseAddr(s.text)
	if err != nil {
		return fmt.Errorf("--source: %w", err)
	}
	s.addr = a.Unmap()
	return nil
}

// withShield opens the counters. Name is "" where args name nobody.
func (c *cli) withShield(args []string, f func(s *lockout.Shield, st store.Store, name string) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		name := ""
		if len(args) > 0 {
			ring, err := service.OpenRing(cfg, false)
			if err != nil {
				return err
			}
			if name, _, err = account(cfg, ring, args[0]); err != nil {
				return err
			}
		}
		return f(service.NewShield(cfg), st, name)
	})
}

func lockoutShow(c *cli) *cobra.Command {
	var source sourceFlag
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show failures of a user and what they lock",
		Long:              "Show failures of a user and what they lock. Without --source it is a login from somewhere new.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := source.read(); err != nil {
				return err
			}
			return c.withShield(args, func(s *lockout.Shield, st store.Store, name string) error {
				status, err := s.Show(cmd.Context(), st, name, source.addr)
				if err != nil {
					return err
				}
				return c.showStatus(name, source.addr, status)
			})
		},
	}
	source.add(cmd)
	return cmd
}

func (c *cli) showStatus(name string, source netip.Addr, s lockout.Status) error {
	k := s.Counters
	counters := []counterJSON{}
	for _, x := range []struct {
		what string
		lockout.Counter
	}{{"user", k.User}, {"pair", k.Pair}, {"source", k.Source}, {"codes", k.Codes}} {
		if !source.IsValid() && (x.what == "pair" || x.what == "source") {
			continue
		}
		counters = append(counters, counterJSON{x.what, x.Failures, x.Newest, x.Strikes, x.Struck})
	}
	v := struct {
		User     string        `json:"user"`
		Source   netip.Addr    `json:"source,omitzero"`
		Login    verdictJSON   `json:"login"`
		Code     verdictJSON   `json:"code"`
		Good     bool          `json:"good"` // logged in from there recently
		Counters []counterJSON `json:"counters"`
	}{name, source, verdict(s.Login), verdict(s.Code), k.Good, counters}
	return c.show(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "login\t%s\ncodes\t%s\n\nWHAT\tFAILURES\tLAST\tSTRIKES\tLAST STRIKE\n", v.Login, v.Code)
		for _, x := range counters {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", x.What, x.Failures, moment(x.Last), x.Strikes, moment(x.Struck))
		}
	})
}

func lockoutClear(c *cli) *cobra.Command {
	var source sourceFlag
	cmd := &cobra.Command{
		Use:   "clear [NAME]",
		Short: "Forget failures of a user or of a source",
		Long: "Forget failures and strikes of a user and the user's codes, and with --source those of that address\n" +
			"and of the pair. Without a name, --source alone is cleared.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := source.read(); err != nil {
				return err
			}
			if len(args) == 0 && !source.addr.IsValid() {
				return errors.New("give a user, or --source ADDRESS, or both")
			}
			return c.withShield(args, func(s *lockout.Shield, st store.Store, name string) error {
				if err := s.Reset(cmd.Context(), st, lockout.What{User: name, Source: source.addr}); err != nil {
					return err
				}
				who := name
				if source.addr.IsValid() {
					if who != "" {
						who += " and "
					}
					who += source.addr.String()
				}
				return c.say(map[string]any{"user": name, "source": source.text, "done": "cleared"}, "failures of %s forgotten", who)
			})
		},
	}
	source.add(cmd)
	return cmd
}
