package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

func lockoutCommand(c *cli) *cobra.Command {
	return group("lockout", "Failed logins and what they lock", lockoutShow(c), lockoutClear(c), lockoutWatch(c))
}

// subject is whom or what a command is about: a user, an address, a network.
type subject struct {
	user   string
	source netip.Addr
	prefix netip.Prefix
}

// read takes an argument for a user unless it is an address or a network.
func (s *subject) read(arg string) {
	if a, err := netip.ParseAddr(arg); err == nil {
		s.source = a.Unmap()
	} else if p, err := netip.ParsePrefix(arg); err == nil {
		s.prefix = p.Masked()
	} else {
		s.user = arg
	}
}

// String is for messages.
func (s subject) String() string {
	var parts []string
	if s.user != "" {
		parts = append(parts, s.user)
	}
	if s.source.IsValid() {
		parts = append(parts, s.source.String())
	}
	if s.prefix.IsValid() {
		parts = append(parts, s.prefix.String())
	}
	return strings.Join(parts, " and ")
}

// addressFlag is an address or a network as a flag.
type addressFlag struct{ text string }

func (f *addressFlag) source() (netip.Addr, error) {
	if f.text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(f.text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--source: %w", err)
	}
	return a.Unmap(), nil
}

func (f *addressFlag) prefix() (netip.Prefix, error) {
	if f.text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(f.text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("--prefix: %w", err)
	}
	return p.Masked(), nil
}

// withShield opens the counters. A user is found however the name is typed; "" is
// nobody. Theirs is asked of the directory where a user is and ask is set.
func (c *cli) withShield(typed string, ask bool, f func(s *lockout.Shield, st store.Store, name string, theirs *theirs) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		if typed == "" {
			return f(service.NewShield(cfg), st, "", nil)
		}
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			return err
		}
		name, _, err := account(cfg, ring, typed)
		if err != nil {
			return err
		}
		var t *theirs
		if ask {
			dir, err := service.OpenDirectory(cfg, ring, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer dir.Close()
			if t, err = askTheirs(dir, authz.AskedName(mfa.SplitCode(typed, byte(cfg.MFA.Separator)))); err != nil {
				return err
			}
		}
		return f(service.NewShield(cfg), st, name, t)
	})
}

func lockoutShow(c *cli) *cobra.Command {
	var from addressFlag
	var ask bool
	var limit int
	cmd := &cobra.Command{
		Use:   "show [USER|ADDRESS|NETWORK]",
		Short: "Show failures and what they lock, or what is locked now",
		Long: "Show failures of a user, an address or a network and what they lock. A user without --source is one who\n" +
			"logs in from somewhere new; with --ad the directory is asked for its own count, too. Without an argument\n" +
			"everything is listed that is locked now.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			source, err := from.source()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if source.IsValid() || ask {
					return errors.New("--source and --ad are about a user: give one")
				}
				return c.withShield("", false, func(_ *lockout.Shield, st store.Store, _ string, _ *theirs) error {
					return c.listLocks(ctx, st, limit)
				})
			}
			who := subject{source: source}
			if who.read(args[0]); who.user == "" && (source.IsValid() && who.prefix.IsValid() || ask) {
				return errors.New("--source and --ad are about a user, and that is none")
			}
			return c.withShield(who.user, ask, func(s *lockout.Shield, st store.Store, name string, t *theirs) error {
				who.user = name
				if name != "" {
					status, err := s.Show(ctx, st, name, who.source)
					if err != nil {
						return err
					}
					return c.showStatus(who, status, t)
				}
				p := who.prefix
				if !p.IsValid() {
					p = lockout.Source(who.source)
				}
				status, err := s.ShowSource(ctx, st, p)
				if err != nil {
					return err
				}
				return c.showStatus(who, status, nil)
			})
		},
	}
	cmd.Flags().StringVar(&from.text, "source", "", "`ADDRESS` of the client")
	cmd.Flags().BoolVar(&ask, "ad", false, "ask the directory how near the user is to its own lockout")
	cmd.Flags().IntVar(&limit, "limit", 100, "list `N` locks at most")
	return cmd
}

// lockJSON is one lock as programs see it.
type lockJSON struct {
	Scope   string    `json:"scope"`
	Subject string    `json:"subject"`
	Until   time.Time `json:"until"`
}

func (c *cli) listLocks(ctx context.Context, st store.Store, limit int) error {
	locks, all, err := lockout.List(ctx, st, 0, limit)
	if err != nil {
		return err
	}
	rows := make([]lockJSON, len(locks))
	for i, l := range locks {
		rows[i] = lockJSON{l.Scope.String(), l.Subject, l.Until}
	}
	if all > len(rows) {
		c.hint("%d of %d are listed; --limit lists more.", len(rows), all)
	}
	return c.show(map[string]any{"locks": rows, "all": all}, func(w *tabwriter.Writer) {
		if all == 0 {
			fmt.Fprintln(w, "nothing is locked")
			return
		}
		fmt.Fprintln(w, "WHAT\tWHO OR WHERE\tUNTIL")
		for _, l := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\n", l.Scope, l.Subject, moment(l.Until))
		}
	})
}

func lockoutClear(c *cli) *cobra.Command {
	var from, around addressFlag
	var pair bool
	cmd := &cobra.Command{
		Use:   "clear [USER|ADDRESS|NETWORK]",
		Short: "Forget failures of a user, an address, a network or a pair",
		Long: "Forget failures and strikes: of a user and the user's codes, and what we caused at the user's directory (what\n" +
			"the directory counts itself it forgets by itself, or where it is administered); with --source of that address\n" +
			"and of the pair; with --pair of the pair alone; with --prefix of a network as it is counted.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			var who subject
			var err error
			if who.source, err = from.source(); err != nil {
				return err
			}
			if who.prefix, err = around.prefix(); err != nil {
				return err
			}
			if len(args) > 0 {
				who.read(args[0])
			}
			switch {
			case who.String() == "":
				return errors.New("give a user, an address or a network")
			case pair && (who.user == "" || !who.source.IsValid() || who.prefix.IsValid()):
				return errors.New("--pair takes a user and --source ADDRESS, and nothing else")
			}
			return c.withShield(who.user, false, func(s *lockout.Shield, st store.Store, name string, _ *theirs) error {
				who.user = name
				err := s.Reset(cmd.Context(), st, lockout.What{User: name, Source: who.source, Pair: pair, Prefix: who.prefix})
				if err != nil {
					return err
				}
				what := who.String()
				if pair {
					what = name + " at " + who.source.String()
				}
				return c.say(struct {
					User   string       `json:"user,omitempty"`
					Source netip.Addr   `json:"source,omitzero"`
					Prefix netip.Prefix `json:"prefix,omitzero"`
					Pair   bool         `json:"pair,omitempty"`
					Done   string       `json:"done"`
				}{name, who.source, who.prefix, pair, "cleared"}, "failures of %s forgotten", what)
			})
		},
	}
	cmd.Flags().StringVar(&from.text, "source", "", "`ADDRESS` of a client")
	cmd.Flags().StringVar(&around.text, "prefix", "", "`NETWORK` around clients")
	cmd.Flags().BoolVar(&pair, "pair", false, "only what user and source have together")
	return cmd
}

func lockoutWatch(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Follow lockouts, spraying, guessed and replayed codes as they happen",
		Long: "Follow lockouts, spraying, guessed and replayed codes as they happen, until Ctrl-C. Each is told once, not for\n" +
			"each attempt. With -o json each is one line.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return c.withStore(func(_ *config.Service, st store.Store) error { return c.watchLockouts(ctx, st, c.out) })
		},
	}
}

func (c *cli) watchLockouts(ctx context.Context, st store.Store, w io.Writer) error {
	events, err := lockout.Watch(ctx, st)
	if err != nil {
		return err
	}
	c.hint("Watching; Ctrl-C ends it.")
	e := json.NewEncoder(w)
	for ev := range events {
		if c.output == "json" {
			err = e.Encode(ev)
		} else {
			_, err = fmt.Fprintln(w, eventLine(ev))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eventLine is an event in a sentence.
func eventLine(e lockout.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s: ", e.At.Local().Format(time.TimeOnly), e.Kind)
	if e.Scope != lockout.ScopeNone {
		fmt.Fprintf(&b, "%s ", e.Scope)
	}
	b.WriteString(e.Subject)
	if e.Failures > 0 {
		what := "failures"
		if e.Kind == lockout.KindSpraying {
			what = "users"
		}
		fmt.Fprintf(&b, ", %d %s", e.Failures, what)
	}
	if !e.Until.IsZero() {
		fmt.Fprintf(&b, ", until %s", e.Until.Local().Format(time.TimeOnly))
	}
	if e.Source.IsValid() {
		fmt.Fprintf(&b, "; %s at %s", e.User, e.Source)
	}
	if e.Decision != "" {
		fmt.Fprintf(&b, " (%s)", e.Decision)
	}
	return b.String()
}
