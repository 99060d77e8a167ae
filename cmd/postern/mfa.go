package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

func mfaCommand(c *cli) *cobra.Command {
	return group("mfa", "Second factors", mfaEnroll(c), mfaList(c), mfaRemove(c))
}

// withVerifier opens what second factors are kept in.
func (c *cli) withVerifier(f func(cfg *config.Service, v *mfa.Verifier, name func(typed string) (string, bool, error)) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			return err
		}
		return f(cfg, service.NewVerifier(cfg, st, ring), func(typed string) (string, bool, error) { return account(cfg, ring, typed) })
	})
}

func mfaEnroll(c *cli) *cobra.Command {
	var replace, more bool
	var label string
	cmd := &cobra.Command{
		Use:   "enroll NAME",
		Short: "Give a user a token for one-time codes",
		Long: "Give a user a token for one-time codes and show its otpauth URL, also as a QR code for an\n" +
			"authenticator app. This is the only time that the secret is seen.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withVerifier(func(cfg *config.Service, v *mfa.Verifier, canonical func(string) (string, bool, error)) error {
				name, known, err := canonical(args[0])
				if err != nil {
					return err
				}
				if !known {
					return fmt.Errorf("%s: %w", args[0], directory.ErrNotFound)
				}
				e, err := enroll(cmd.Context(), v, name, label, replace, more)
				if err != nil {
					return err
				}
				return c.showEnrolment(name, byte(cfg.MFA.Separator), e)
			})
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "take the tokens of before away")
	cmd.Flags().BoolVar(&more, "add", false, "keep the tokens of before; any of them opens a login")
	cmd.Flags().StringVar(&label, "label", "", "`TEXT` to tell tokens of one user apart")
	cmd.MarkFlagsMutuallyExclusive("replace", "add")
	return cmd
}

func enroll(ctx context.Context, v *mfa.Verifier, name, label string, replace, more bool) (*mfa.Enrolment, error) {
	before, err := v.Tokens(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(before) > 0 && !replace && !more {
		return nil, fmt.Errorf("%s has a token already: --replace takes it away, --add keeps it beside the new one", name)
	}
	e, err := v.Enroll(ctx, time.Now(), name, label)
	if replace && errors.Is(err, mfa.ErrTooMany) {
		if err := v.Reset(ctx, name); err != nil {
			return nil, err
		}
		return v.Enroll(ctx, time.Now(), name, label)
	}
	if err != nil || !replace {
		return e, err
	}
	// The old ones go last: should this stop half-way, the user still has one.
	for _, t := range before {
		if err := v.Remove(ctx, name, t.ID); err != nil && !errors.Is(err, mfa.ErrNoToken) {
			return nil, err
		}
	}
	return e, nil
}

func (c *cli) showEnrolment(name string, separator byte, e *mfa.Enrolment) error {
	f, ok := c.out.(*os.File)
	qr, err := e.QR(ok && term.IsTerminal(int(f.Fd())))
	if err != nil {
		return err
	}
	v := map[string]any{"user": name, "token": e.Token, "secret": e.Secret, "url": e.URL}
	return c.show(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%s\n\n%s\n\nsecret  %s\n", qr, e.URL, e.Secret)
		fmt.Fprintf(w, "login   %s%c%s\n", name, separator, "123456"[:min(6, e.Token.Digits)])
	})
}

func mfaList(c *cli) *cobra.Command {
	type row struct {
		User string `json:"user"`
		mfa.Token
	}
	return &cobra.Command{
		Use:               "list [NAME]",
		Aliases:           []string{"ls"},
		Short:             "List the tokens of a user, or of all in the users file",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			names := args
			if len(names) == 0 {
				if err := c.withUsers(func(u *directory.Users) error {
					users, err := u.List()
					for _, x := range users {
						names = append(names, x.Name)
					}
					return err
				}); err != nil {
					return err
				}
			}
			list := []row{}
			err := c.withVerifier(func(_ *config.Service, v *mfa.Verifier, canonical func(string) (string, bool, error)) error {
				for _, typed := range names {
					name, _, err := canonical(typed)
					if err != nil {
						return err
					}
					tokens, err := v.Tokens(cmd.Context(), name)
					if err != nil {
						return err
					}
					for _, t := range tokens {
						list = append(list, row{name, t})
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return c.show(list, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "USER\tTOKEN\tDIGITS\tPERIOD\tCREATED\tLABEL")
				for _, t := range list {
					fmt.Fprintf(w, "%s\t%s\t%d\t%ds\t%s\t%s\n", t.User, t.ID, t.Digits, t.Period, moment(t.Created), orDash(t.Label))
				}
			})
		},
	}
}

func mfaRemove(c *cli) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "remove NAME [TOKEN]",
		Aliases:           []string{"rm"},
		Short:             "Take a token from a user",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 2) {
				return errors.New("give a token (see `postern mfa list`), or --all")
			}
			return c.withVerifier(func(_ *config.Service, v *mfa.Verifier, canonical func(string) (string, bool, error)) error {
				name, _, err := canonical(args[0])
				if err != nil {
					return err
				}
				if all {
					if err := v.Reset(cmd.Context(), name); err != nil {
						return err
					}
					return c.say(map[string]any{"user": name, "done": "removed all"}, "%s has no token any more", name)
				}
				if err := v.Remove(cmd.Context(), name, args[1]); err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "token": args[1], "done": "removed"}, "token %s of %s removed", args[1], name)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take all tokens from the user")
	return cmd
}
