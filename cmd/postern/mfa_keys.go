package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/mfa"
)

// each runs f for the names typed, or for everybody who has, or had, something for a
// second factor.
func (s *secondFactors) each(ctx context.Context, typed []string, f func(name string) error) error {
	if len(typed) == 0 {
		return s.Users(ctx, f)
	}
	names, err := s.names(typed)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := f(name); err != nil {
			return err
		}
	}
	return nil
}

// rekeyed counts what a rekey has done.
type rekeyed struct {
	People   int `json:"people"`            // looked at
	Changed  int `json:"changed"`           // had secrets under an old key
	Recovery int `json:"recovery_codes_of"` // whose recovery codes are under an old key, and stay there
}

// rekey puts tokens and keys under the newest key.
func (s *secondFactors) rekey(ctx context.Context, typed []string) (r rekeyed, err error) {
	keys := s.keys()
	err = s.each(ctx, typed, func(name string) error {
		changed, err := s.Reseal(ctx, name)
		if err != nil {
			return fmt.Errorf("tokens of %s: %w", name, err)
		}
		if keys != nil {
			k, err := keys.Reseal(ctx, name)
			if err != nil {
				return fmt.Errorf("keys of %s: %w", name, err)
			}
			changed = changed || k
		}
		aged, err := s.RecoveryAged(ctx, name)
		if err != nil {
			return fmt.Errorf("recovery codes of %s: %w", name, err)
		}
		if r.People++; changed {
			r.Changed++
		}
		if aged {
			r.Recovery++
		}
		s.cli.progress(r.People, "people")
		return nil
	})
	return r, err
}

// told says what is left to do.
func (r rekeyed) told(c *cli) {
	if r.Recovery > 0 {
		c.hint("Recovery codes of %d people are known by their hash only and stay under an old key: keep it in the key ring\n"+
			"until these people have new codes (`postern mfa recovery`, or the portal).", r.Recovery)
	}
}

func mfaRekey(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rekey [NAME]...",
		Short: "Put tokens and keys under the newest key of the key ring",
		Long: "Put the tokens and keys of everybody, or of each NAME, under the newest key of the key ring. Services go on\n" +
			"working meanwhile: they open what is under any key of the ring. It may be run again, and after an interruption.\n" +
			"`postern keyring reseal` does the same and the passwords of the users files.",
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				r, err := s.rekey(cmd.Context(), args)
				if err != nil {
					return err
				}
				r.told(c)
				return c.say(r, "%d of %d people had secrets under an old key; all are under the newest now", r.Changed, r.People)
			})
		},
	}
}

func mfaImport(c *cli) *cobra.Command {
	var dry, partial bool
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take over tokens that another system made",
		Long: "Take over tokens from a file, or from standard input. A line of it is an otpauth:// URL, as most systems export\n" +
			"them (the label names the user); or CSV: user,secret[,digits[,period[,algorithm[,label]]]], where a first line may\n" +
			"name the columns, secret_hex among them; or a line of FreeRADIUS' users file with TOTP-Secret.\n" +
			"Everything is looked at first. When a line is wrong or names nobody, nothing is imported, unless --partial is\n" +
			"given. A token that its user has already is passed over. Delete the file afterwards: it holds the secrets.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := c.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			seeds, mistakes, err := mfa.ParseSeeds(in)
			if err != nil {
				return err
			}
			return c.withFactors(func(s *secondFactors) error {
				names := make(map[int]string)
				for _, seed := range seeds {
					name, err := s.person(seed.User)
					if err != nil {
						mistakes = append(mistakes, fmt.Errorf("line %d: %w", seed.Line, err))
						continue
					}
					names[seed.Line] = name
				}
				for _, m := range mistakes {
					fmt.Fprintf(c.errs, "%s: %v\n", args[0], m)
				}
				if len(mistakes) > 0 && !partial {
					return fmt.Errorf("%d mistakes, and nothing is imported", len(mistakes))
				}
				return s.take(cmd.Context(), seeds, names, len(mistakes), dry)
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "look at everything, import nothing")
	cmd.Flags().BoolVar(&partial, "partial", false, "import what is right, and pass over what is not")
	return cmd
}

// take imports the seeds of which the user is known.
func (s *secondFactors) take(ctx context.Context, seeds []mfa.Seed, names map[int]string, wrong int, dry bool) error {
	done, known := 0, 0
	for _, seed := range seeds {
		name, ok := names[seed.Line]
		if !ok {
			continue
		}
		if dry {
			done++
			continue
		}
		_, err := s.Import(ctx, time.Now(), name, seed)
		switch {
		case errors.Is(err, mfa.ErrKnown):
			known++
		case err != nil:
			return fmt.Errorf("line %d, after %d imported: %w", seed.Line, done, err)
		default:
			done++
		}
		s.cli.progress(done+known, "tokens")
	}
	v := map[string]any{"imported": done, "known": known, "wrong": wrong, "dry_run": dry}
	return s.cli.show(v, func(w *tabwriter.Writer) {
		if dry {
			fmt.Fprintf(w, "%d tokens could be imported, %d lines not; nothing was\n", done, wrong)
			return
		}
		fmt.Fprintf(w, "%d tokens imported, %d were there already, %d lines passed over\n", done, known, wrong)
	})
}
