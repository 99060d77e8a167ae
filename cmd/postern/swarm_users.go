package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
	"postern/cmd/internal/swarm"
	"postern/internal/config"
)

// swarmAccounts makes and removes accounts for a swarm.
type swarmAccounts struct {
	*cli
	file, pattern string
	count         int
	groups        []string
	totp          bool
}

func swarmUsers(c *cli) *cobra.Command {
	a := swarmAccounts{cli: c}
	var only, remove bool
	cmd := &cobra.Command{
		Use:   "users FILE",
		Short: "Make accounts for a swarm, with a file of their passwords",
		Long: `Make accounts in the service's users file, with passwords nobody could guess and, with --totp, tokens for
one-time codes; and FILE, which holds all of that for the other commands. A group of their own lets the
policy say what they may do. --remove takes the accounts that FILE names away again, and FILE.

With --file-only the file is all that is made: for a directory elsewhere, whose accounts another tool
makes of it. Tokens are kept in the service's store; while the service runs, that must be Redis.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.file = args[0]
			switch {
			case remove:
				return a.remove(cmd.Context())
			case only && a.totp:
				return errors.New("--totp: tokens are the service's, and --file-only tells it nothing")
			}
			accounts, err := swarm.Generate(a.pattern, a.count)
			if err != nil {
				return err
			}
			if only {
				if err := swarm.WriteUsers(a.file, accounts); err != nil {
					return err
				}
				return a.made(accounts)
			}
			return a.make(cmd.Context(), accounts)
		},
	}
	fl := cmd.Flags()
	fl.IntVarP(&a.count, "count", "n", 100, "so many")
	fl.StringVar(&a.pattern, "pattern", "swarm-%05d", "what they are called: `TEXT` with one %d, as printf has it")
	fl.StringSliceVarP(&a.groups, "group", "g", nil, "`GROUP` they are in; may be repeated")
	fl.BoolVar(&a.totp, "totp", false, "give each a token for one-time codes")
	fl.BoolVar(&only, "file-only", false, "make no accounts")
	fl.BoolVar(&remove, "remove", false, "take away the accounts that FILE names, their tokens, and FILE")
	fl.StringVar(&c.realm, "realm", "", "the `REALM` whose users file it is, where several have one")
	cmd.MarkFlagsMutuallyExclusive("remove", "count")
	cmd.MarkFlagsMutuallyExclusive("remove", "pattern")
	cmd.MarkFlagsMutuallyExclusive("remove", "totp")
	cmd.MarkFlagsMutuallyExclusive("remove", "file-only")
	return cmd
}

func (a *swarmAccounts) made(accounts []swarm.Account) error {
	a.hint("%s holds their passwords: keep it to yourself.", a.file)
	return a.say(map[string]any{"users": len(accounts), "file": a.file, "done": "made"}, "%d users made, from %s to %s",
		len(accounts), accounts[0].Name, accounts[len(accounts)-1].Name)
}

// make makes the accounts, then their tokens, then the file, and undoes it all when
// something fails: a password that nobody has noted is of no use.
func (a *swarmAccounts) make(ctx context.Context, accounts []swarm.Account) (err error) {
	if _, err := os.Lstat(a.file); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%s is there already", a.file))
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	p, err := a.usersFile(cfg)
	if err != nil {
		return err
	}
	users := make([]directory.User, len(accounts))
	names, passwords := make([]string, len(accounts)), make([]string, len(accounts))
	for i, x := range accounts {
		users[i], names[i], passwords[i] = directory.User{Name: x.Name, Groups: a.groups}, x.Name, x.Password
		accounts[i].Name = p.typed(x.Name)
	}
	if err := withFile(cfg, p, func(u *directory.Users) error { return u.AddAll(users, passwords) }); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, withFile(cfg, p, func(u *directory.Users) error {
				_, err := u.DeleteAll(names)
				return err
			}))
		}
	}()
	if a.totp {
		if err := a.enrol(ctx, accounts); err != nil {
			return err
		}
	}
	if err := swarm.WriteUsers(a.file, accounts); err != nil {
		return err
	}
	return a.made(accounts)
}

// enrol gives each account a token.
func (a *swarmAccounts) enrol(ctx context.Context, accounts []swarm.Account) error {
	return a.withFactors(func(s *secondFactors) error {
		names, err := s.keptUnder(accounts)
		if err != nil {
			return err
		}
		for i, name := range names {
			e, err := s.Enroll(ctx, time.Now(), name, "swarm")
			if err != nil {
				for _, done := range names[:i] {
					err = errors.Join(err, s.Reset(context.WithoutCancel(ctx), done))
				}
				return err
			}
			accounts[i].TOTP = e.URL
			a.progress(i+1, "tokens")
		}
		return nil
	})
}

// keptUnder are the names that tokens of accounts are kept under.
func (s *secondFactors) keptUnder(accounts []swarm.Account) ([]string, error) {
	dir, err := service.OpenDirectory(s.cfg, s.ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names := make([]string, len(accounts))
	for i, x := range accounts {
		names[i] = dir.Canonical(authz.AskedName(mfa.SplitCode(x.Name, byte(s.cfg.MFA.Separator))))
	}
	return names, nil
}

// remove undoes make.
func (a *swarmAccounts) remove(ctx context.Context) error {
	users, err := swarm.ReadUsers(a.file)
	if err != nil {
		return err
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	p, err := a.usersFile(cfg)
	if err != nil {
		return err
	}
	var coded []swarm.Account
	names := make([]string, len(users))
	for i, u := range users {
		if u.Coded() {
			coded = append(coded, swarm.Account{Name: u.Name})
		}
		names[i] = a.inFile(cfg, u.Name)
	}
	if len(coded) > 0 { // first: a token that is left would be the next one's of that name
		err := a.withFactors(func(s *secondFactors) error {
			kept, err := s.keptUnder(coded)
			if err != nil {
				return err
			}
			for i, name := range kept {
				if err := s.Reset(ctx, name); err != nil {
					return err
				}
				a.progress(i+1, "tokens")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	n := 0
	if err := withFile(cfg, p, func(u *directory.Users) (err error) {
		n, err = u.DeleteAll(names)
		return err
	}); err != nil {
		return err
	}
	if err := os.Remove(a.file); err != nil {
		return err
	}
	return a.say(map[string]any{"users": n, "file": a.file, "done": "removed"}, "%d users removed, and %s", n, a.file)
}

// inFile is the name that a users file has for one that is typed.
func (a *swarmAccounts) inFile(cfg *config.Service, typed string) string {
	if _, names, err := a.usersFileOf(cfg, typed); err == nil {
		return names[len(names)-1]
	}
	return typed
}
