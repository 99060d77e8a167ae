package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/directory"
	"postern/authz/grant"
	"postern/authz/mfa"
	"postern/authz/mfa/webauthn"
	"postern/cmd/internal/service"
)

// grants are the remembered factors.
func (s *secondFactors) grants() *grant.Keeper { return grant.New(s.store) }

// forgetAll forgets all remembered factors of a user, and returns how many.
func (s *secondFactors) forgetAll(ctx context.Context, name string) (int, error) {
	n, err := s.grants().RevokeAll(ctx, name)
	if err != nil {
		return 0, err
	}
	return n, s.review(ctx, name)
}

// review has the user's sessions looked at again: what lives on a remembered factor is to
// give it anew.
func (s *secondFactors) review(ctx context.Context, name string) error {
	return service.NewSessions(s.cfg, s.store).AskReview(ctx, "remembered factor taken back", name)
}

// keys are the WebAuthn keys; nil where there is no portal that could have any.
func (s *secondFactors) keys() *webauthn.Verifier {
	v, err := webauthn.New(s.store, s.ring, webauthn.Config{URL: string(s.cfg.Portal.URL), Name: string(s.cfg.Portal.Name)})
	if err != nil {
		return nil
	}
	return v
}

// person is canonical for a command that must not make something for nobody.
func (s *secondFactors) person(typed string) (string, error) {
	name, known, err := s.canonical(typed)
	if err == nil && !known {
		err = fmt.Errorf("%s: %w", typed, directory.ErrNotFound)
	}
	return name, err
}

func mfaTicket(c *cli) *cobra.Command {
	var life time.Duration
	var revoke string
	cmd := &cobra.Command{
		Use:   "ticket NAME",
		Short: "Let a user enrol in the portal, once",
		Long: "Make a ticket with which NAME can enrol one token in the portal, once, and show it with its link: who has it\n" +
			"can enrol, so hand it over as you would a password. `postern mfa show` lists those that are good.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				if revoke != "" {
					name, _, err := s.canonical(args[0])
					if err != nil {
						return err
					}
					if err := s.RevokeTicket(cmd.Context(), name, revoke); err != nil {
						return err
					}
					return c.say(map[string]any{"user": name, "id": revoke, "done": "revoked"}, "ticket %s of %s revoked", revoke, name)
				}
				name, err := s.person(args[0])
				if err != nil {
					return err
				}
				t, err := s.NewTicket(cmd.Context(), name, life)
				if err != nil {
					return err
				}
				link := ""
				if u := s.cfg.Portal.URL; u != "" {
					link = string(u) + "/enrol?ticket=" + t.Code
				}
				v := map[string]any{"user": name, "id": t.ID, "code": t.Code, "until": t.Until, "link": link}
				return c.show(v, func(w *tabwriter.Writer) {
					fmt.Fprintf(w, "user\t%s\nticket\t%s\ngood until\t%s\nlink\t%s\n", name, t.Code, moment(t.Until), orDash(link))
				})
			})
		},
	}
	cmd.Flags().DurationVar(&life, "for", 24*time.Hour, "how long it is good, up to 720h")
	cmd.Flags().StringVar(&revoke, "revoke", "", "take the ticket with this `ID` back")
	return cmd
}

func mfaRecovery(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "recovery NAME",
		Short: "Make new recovery codes for a user",
		Long: "Make ten recovery codes for NAME, each good once in the portal, in the place of those of before. This is the\n" +
			"only time that they are seen.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				name, err := s.person(args[0])
				if err != nil {
					return err
				}
				codes, err := s.NewRecovery(cmd.Context(), name)
				if err != nil {
					return err
				}
				return c.show(map[string]any{"user": name, "codes": codes}, func(w *tabwriter.Writer) {
					for _, code := range codes {
						fmt.Fprintln(w, code)
					}
				})
			})
		},
	}
}

// having is all that a user has for a second factor.
type having struct {
	User     string         `json:"user"`
	Tokens   []mfa.Token    `json:"tokens"`
	Recovery int            `json:"recovery_codes_left"`
	Keys     []webauthn.Key `json:"keys"`
	Tickets  []mfa.Ticket   `json:"tickets"`
	Grants   []grantRow     `json:"remembered"`
}

func (s *secondFactors) having(cmd *cobra.Command, name string) (h having, err error) {
	ctx := cmd.Context()
	h = having{User: name, Tokens: []mfa.Token{}, Keys: []webauthn.Key{}, Tickets: []mfa.Ticket{}}
	if list, err := s.Tokens(ctx, name); err != nil {
		return h, err
	} else if list != nil {
		h.Tokens = list
	}
	if h.Recovery, err = s.RecoveryLeft(ctx, name); err != nil {
		return h, err
	}
	if list, err := s.Tickets(ctx, name); err != nil {
		return h, err
	} else if list != nil {
		h.Tickets = list
	}
	if k := s.keys(); k != nil {
		if list, err := k.Keys(ctx, name); err != nil {
			return h, err
		} else if list != nil {
			h.Keys = list
		}
	}
	h.Grants, err = s.grantsOf(cmd, name)
	return h, err
}

func mfaShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show what a user has for a second factor",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				name, _, err := s.canonical(args[0])
				if err != nil {
					return err
				}
				h, err := s.having(cmd, name)
				if err != nil {
					return err
				}
				return c.show(h, func(w *tabwriter.Writer) {
					fmt.Fprintf(w, "user\t%s\n", name)
					for _, t := range h.Tokens {
						fmt.Fprintf(w, "token\t%s\t%s\tsince %s\n", t.ID, orDash(t.Label), moment(t.Created))
					}
					for _, k := range h.Keys {
						fmt.Fprintf(w, "key\t%s\t%s\tsince %s\n", k.ID, orDash(k.Label), moment(k.Created))
					}
					fmt.Fprintf(w, "recovery codes\t%d left\n", h.Recovery)
					for _, t := range h.Tickets {
						fmt.Fprintf(w, "ticket\t%s\tgood until %s\n", t.ID, moment(t.Until))
					}
					for _, g := range h.Grants {
						fmt.Fprintf(w, "remembered\t%s\t%s\tuntil %s\n", g.ID, g.Network, moment(g.Until))
					}
				})
			})
		},
	}
}

func mfaReset(c *cli) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Take everything from a user: tokens, keys, recovery codes, tickets, remembered factors",
		Long: "Take everything from NAME that could be a second factor: tokens, keys, recovery codes, tickets and what is\n" +
			"remembered. Sessions that are up go on; `postern session end` ends them.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				name, _, err := s.canonical(args[0])
				if err != nil {
					return err
				}
				if err := c.sure(yes, "%s loses every second factor. Type the name to go on: ", name); err != nil {
					return err
				}
				if err := s.takeAll(cmd, name); err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "done": "reset"}, "%s has no second factor any more", name)
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// takeAll takes what is remembered first: should this stop half-way, nothing opens that
// the user believes to be gone.
func (s *secondFactors) takeAll(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	if _, err := s.forgetAll(ctx, name); err != nil {
		return err
	}
	tickets, err := s.Tickets(ctx, name)
	if err != nil {
		return err
	}
	for _, t := range tickets {
		if err := s.RevokeTicket(ctx, name, t.ID); err != nil && !errors.Is(err, mfa.ErrTicket) {
			return err
		}
	}
	if k := s.keys(); k != nil {
		if err := k.Reset(ctx, name); err != nil {
			return err
		}
	}
	return errors.Join(s.DropRecovery(ctx, name), s.Reset(ctx, name))
}

// grantRow is a remembered factor as it is shown.
type grantRow struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Factor  string    `json:"factor"`
	Network string    `json:"network"`
	Device  string    `json:"device,omitempty"`
	Given   time.Time `json:"given"`
	Used    time.Time `json:"used"`
	Until   time.Time `json:"until"`
}

func (s *secondFactors) grantsOf(cmd *cobra.Command, name string) ([]grantRow, error) {
	list, err := s.grants().List(cmd.Context(), name)
	rows := []grantRow{}
	for _, g := range list {
		rows = append(rows, grantRow{g.ID, name, g.Factor, g.Network().String(), g.Device, g.Given, g.Used, g.Until()})
	}
	return rows, err
}

func mfaGrants(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "grants [NAME]",
		Short: "List remembered second factors of a user, or of everybody",
		Long: "List where second factors are remembered, so that a login from there needs no code. The policy in force may\n" +
			"shorten what is listed.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			rows := []grantRow{}
			err := c.withFactors(func(s *secondFactors) error {
				return s.each(cmd.Context(), args, func(name string) error {
					more, err := s.grantsOf(cmd, name)
					rows = append(rows, more...)
					return err
				})
			})
			if err != nil {
				return err
			}
			return c.show(rows, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "USER\tGRANT\tFACTOR\tNETWORK\tDEVICE\tGIVEN\tUSED\tUNTIL")
				for _, g := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.User, g.ID, g.Factor, g.Network, visible(g.Device), moment(g.Given), moment(g.Used), moment(g.Until))
				}
			})
		},
	}
}

func mfaRevoke(c *cli) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "revoke NAME [GRANT]",
		Short:             "Forget a remembered second factor: the next login needs one again",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 2) {
				return errors.New("give a grant (see `postern mfa grants`), or --all")
			}
			return c.withFactors(func(s *secondFactors) error {
				name, _, err := s.canonical(args[0])
				if err != nil {
					return err
				}
				if all {
					n, err := s.forgetAll(cmd.Context(), name)
					if err != nil {
						return err
					}
					return c.say(map[string]any{"user": name, "revoked": n}, "%d remembered factors of %s forgotten", n, name)
				}
				found, err := s.grants().Revoke(cmd.Context(), name, args[1])
				if err == nil && !found {
					err = fmt.Errorf("%s has no remembered factor %s", name, args[1])
				}
				if err == nil {
					err = s.review(cmd.Context(), name)
				}
				if err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "grant": args[1], "revoked": 1}, "%s of %s forgotten", args[1], name)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget all of the user's")
	return cmd
}
