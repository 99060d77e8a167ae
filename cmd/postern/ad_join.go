package main

import (
	"errors"

	"github.com/spf13/cobra"

	"postern/authz/directory/ad"
	"postern/internal/config"
)

func adJoin(c *cli) *cobra.Command {
	var password passwordFlag
	var join ad.JoinConfig
	var given bool
	cmd := &cobra.Command{
		Use:   "join [REALM]",
		Short: "Make this gateway a member of the domain",
		Long: "Make this gateway a member of the domain: create its machine account with an administrator's credential, and\n" +
			"seal the account's password in machine_secret_file. With --given somebody has made the account already, and the\n" +
			"password that is asked for is the account's.",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeRealm,
		RunE: func(cmd *cobra.Command, args []string) error {
			if given == (join.Admin != "") {
				return errors.New("give --admin USER, or --given for an account that exists")
			}
			d, err := c.domain(args)
			if err != nil {
				return err
			}
			join.Config, join.File = d.ad, d.file
			if given {
				if join.Password, err = password.readOnce(c, "Password of "+d.file.Account+": "); err != nil {
					return err
				}
				defer clear(join.Password)
			} else {
				if join.AdminPassword, err = password.readOnce(c, "Password of "+join.Admin+": "); err != nil {
					return err
				}
				defer clear(join.AdminPassword)
			}
			done, err := ad.Join(cmd.Context(), join)
			if errors.Is(err, ad.ErrExists) {
				c.hint("--take-over gives it a new password: whoever uses it now loses it.")
			}
			if err != nil {
				return err
			}
			return c.showJoined(d, done)
		},
	}
	password.add(cmd)
	cmd.Flags().StringVar(&join.Admin, "admin", "", "`USER` who may create computers: alice@corp.example")
	cmd.Flags().StringVar(&join.Container, "container", "", "`DN` of where the account is created (default CN=Computers)")
	cmd.Flags().StringVar(&join.Host, "host", "", "DNS `NAME` of this gateway (default the account's in the domain)")
	cmd.Flags().BoolVar(&join.TakeOver, "take-over", false, "take an account of that name that exists")
	cmd.Flags().BoolVar(&given, "given", false, "the account exists and its password is known")
	cmd.MarkFlagsMutuallyExclusive("given", "admin")
	cmd.MarkFlagsMutuallyExclusive("given", "take-over")
	return cmd
}

func (c *cli) showJoined(d *domain, done *ad.Joined) error {
	what := "is a member already and proved it"
	switch {
	case done.Created:
		what = "was created: " + done.DN
	case done.TookOver:
		what = "was taken over: " + done.DN
	}
	c.hint("`postern ad doctor %s` looks whether all else is right.", d.realm)
	return c.say(map[string]any{"realm": d.realm, "account": d.file.Account, "server": done.Server, "dn": done.DN, "created": done.Created, "done": "joined"},
		"%s %s (at %s); its password is in %s", d.file.Account, what, done.Server, d.file.Path)
}

// userFailures is what lockout.user has when the configuration says nothing, see
// config.Threshold.
const userFailures = 5

// userLimit is how many failures of one user we let through; 0: any number.
func userLimit(cfg *config.Service) int {
	switch n := cfg.Lockout.User.Failures; {
	case cfg.Lockout.Disabled:
		return 0
	case n == 0:
		return userFailures
	default:
		return n
	}
}
