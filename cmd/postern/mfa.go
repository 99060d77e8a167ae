package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/authz/mfa"
	"postern/authz/mfa/webauthn"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/store"
)

func mfaCommand(c *cli) *cobra.Command {
	return group("mfa", "Second factors", mfaEnroll(c), mfaTicket(c), mfaList(c), mfaShow(c), mfaRemove(c), mfaReset(c),
		mfaRecovery(c), mfaImport(c), mfaRekey(c), mfaSeal(c), mfaGrants(c), mfaRevoke(c))
}

// secondFactors is what they are kept in.
type secondFactors struct {
	*mfa.Verifier
	cli   *cli
	cfg   *config.Service
	ring  *seal.Ring
	store store.Store
}

func (c *cli) withFactors(f func(s *secondFactors) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			return err
		}
		return f(&secondFactors{service.NewVerifier(cfg, st, ring), c, cfg, ring, st})
	})
}

// canonical is the name tokens are kept under, and whether there is such a user.
func (s *secondFactors) canonical(typed string) (name string, known bool, err error) {
	return account(s.cfg, s.ring, typed)
}

// names are the canonical names of those typed.
func (s *secondFactors) names(typed []string) ([]string, error) {
	names := make([]string, len(typed))
	for i, t := range typed {
		var err error
		if names[i], _, err = s.canonical(t); err != nil {
			return nil, err
		}
	}
	return names, nil
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
			return c.withFactors(func(s *secondFactors) error {
				name, err := s.person(args[0])
				if err != nil {
					return err
				}
				e, err := enroll(cmd.Context(), s.Verifier, name, label, replace, more)
				if err != nil {
					return err
				}
				separator := byte(s.cfg.MFA.Separator)
				return c.showEnrolment(name, mfa.SplitCode(args[0], separator).Name+string(separator), e)
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

// showEnrolment shows a new token; login is what comes before a code.
func (c *cli) showEnrolment(name, login string, e *mfa.Enrolment) error {
	f, ok := c.out.(*os.File)
	qr, err := e.QR(ok && term.IsTerminal(int(f.Fd())))
	if err != nil {
		return err
	}
	v := map[string]any{"user": name, "token": e.Token, "secret": e.Secret, "url": e.URL}
	return c.show(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%s\n\n%s\n\nsecret  %s\n", qr, e.URL, e.Secret)
		fmt.Fprintf(w, "login   %s%s\n", login, "12345678"[:min(8, e.Token.Digits)])
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
		Short:             "List the tokens of a user, or of everybody",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			list := []row{}
			err := c.withFactors(func(s *secondFactors) error {
				return s.each(cmd.Context(), args, func(name string) error {
					tokens, err := s.Tokens(cmd.Context(), name)
					for _, t := range tokens {
						list = append(list, row{name, t})
					}
					return err
				})
			})
			if err != nil {
				return err
			}
			slices.SortStableFunc(list, func(a, b row) int { return strings.Compare(a.User, b.User) })
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
		Short:             "Take a token or a security key from a user, and what is remembered",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 2) {
				return errors.New("give a token or a key (see `postern mfa show`), or --all")
			}
			return c.withFactors(func(s *secondFactors) error {
				name, _, err := s.canonical(args[0])
				if err != nil {
					return err
				}
				// What was remembered by means of a token goes first: it must not outlive it.
				if _, err := s.forgetAll(cmd.Context(), name); err != nil {
					return err
				}
				if all {
					if err := s.Reset(cmd.Context(), name); err != nil {
						return err
					}
					return c.say(map[string]any{"user": name, "done": "removed all"}, "%s has no token any more", name)
				}
				err = s.Remove(cmd.Context(), name, args[1])
				if k := s.keys(); k != nil && errors.Is(err, mfa.ErrNoToken) {
					switch kerr := k.Remove(cmd.Context(), name, args[1]); {
					case kerr == nil:
						return c.say(map[string]any{"user": name, "key": args[1], "done": "removed"}, "key %s of %s removed", args[1], name)
					case !errors.Is(kerr, webauthn.ErrNoKey):
						return kerr
					}
				}
				if err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "token": args[1], "done": "removed"}, "token %s of %s removed", args[1], name)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take all tokens from the user")
	return cmd
}
