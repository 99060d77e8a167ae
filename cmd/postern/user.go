package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/authz/directory"
)

func userCommand(c *cli) *cobra.Command {
	g := group("user", "Accounts: those of the users file, and what directories know",
		userAdd(c), userPasswd(c), userSet(c), userDel(c), userList(c), userShow(c), userRevoke(c))
	g.PersistentFlags().StringVar(&c.realm, "realm", "", "the `REALM` whose users file it is, where several have one")
	return g
}

// userJSON is an account as programs see it.
type userJSON struct {
	Name     string     `json:"name"`
	Groups   []string   `json:"groups"`
	Disabled bool       `json:"disabled"`
	Address  netip.Addr `json:"address,omitzero"`
	Password bool       `json:"password"` // there is one
}

func userAdd(c *cli) *cobra.Command {
	var user directory.User
	var address string
	var none bool
	var password passwordFlag
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an account",
		Long: "Make an account. The password is asked for without echo, or read from --password-file,\n" +
			"or from standard input where that is no terminal.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if address != "" {
				a, err := netip.ParseAddr(address)
				if err != nil {
					return fmt.Errorf("--address: %w", err)
				}
				user.Addr = a
			}
			return c.withUser(args[0], func(u *directory.Users, names []string) error {
				user.Name = names[0]
				switch there, err := known(u, user.Name); {
				case err != nil:
					return err
				case there: // said before somebody types a password twice
					return fmt.Errorf("add user %s: %w", user.Name, directory.ErrExists)
				}
				var text string
				if !none {
					var err error
					if text, err = password.read(c, user.Name); err != nil {
						return err
					}
				}
				if err := u.Add(user, text); err != nil {
					return err
				}
				return c.say(map[string]any{"user": user.Name, "done": "added"}, "user %s added", user.Name)
			})
		},
	}
	cmd.Flags().StringSliceVarP(&user.Groups, "group", "g", nil, "`GROUP` the user is in; may be repeated")
	cmd.Flags().StringVar(&address, "address", "", "IPv4 `ADDRESS` the user always gets")
	cmd.Flags().BoolVar(&user.Disabled, "disabled", false, "the account may not log in yet")
	cmd.Flags().BoolVar(&none, "no-password", false, "make it without a password; nobody can log in until it has one")
	password.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("no-password", "password-file")
	return cmd
}

func userPasswd(c *cli) *cobra.Command {
	var password passwordFlag
	cmd := &cobra.Command{
		Use:               "passwd NAME",
		Short:             "Change a password",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(_ *cobra.Command, args []string) error {
			return c.withAccount(args[0], func(u *directory.Users, name string) error {
				text, err := password.read(c, name)
				if err != nil {
					return err
				}
				if err := u.SetPassword(name, text); err != nil {
					return err
				}
				return c.say(map[string]any{"user": name, "done": "password changed"}, "password of %s changed", name)
			})
		},
	}
	password.add(cmd)
	return cmd
}

func userSet(c *cli) *cobra.Command {
	var groups []string
	var enable, disable bool
	cmd := &cobra.Command{
		Use:               "set NAME",
		Short:             "Change groups, or disable or enable an account",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("group") && !enable && !disable {
				return errors.New("nothing to change: give --group, --disable or --enable")
			}
			return c.withAccount(args[0], func(u *directory.Users, name string) error {
				if cmd.Flags().Changed("group") {
					if err := u.SetGroups(name, nonEmpty(groups)); err != nil {
						return err
					}
				}
				if enable || disable {
					if err := u.SetDisabled(name, disable); err != nil {
						return err
					}
				}
				return c.say(map[string]any{"user": name, "done": "changed"}, "user %s changed", name)
			})
		},
	}
	cmd.Flags().StringSliceVarP(&groups, "group", "g", nil, "`GROUP` the user is in from now on, instead of those of before; may be repeated, \"\" is none")
	cmd.Flags().BoolVar(&disable, "disable", false, "the account may not log in")
	cmd.Flags().BoolVar(&enable, "enable", false, "the account may log in again")
	cmd.MarkFlagsMutuallyExclusive("disable", "enable")
	return cmd
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func userDel(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "del NAME",
		Aliases:           []string{"delete", "rm"},
		Short:             "Delete an account",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(_ *cobra.Command, args []string) error {
			return c.withAccount(args[0], func(u *directory.Users, name string) error {
				if err := u.Delete(name); err != nil {
					return err
				}
				c.hint("Second factors of %s stay until `postern mfa remove --all %s`; running sessions end at the next look for changes (follow.interval).", args[0], args[0])
				return c.say(map[string]any{"user": name, "done": "deleted"}, "user %s deleted", name)
			})
		},
	}
}

func userList(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the accounts",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.withUsers(func(u *directory.Users) error {
				users, err := u.List()
				if err != nil {
					return err
				}
				list := make([]userJSON, 0, len(users))
				for _, x := range users {
					list = append(list, userJSON{x.Name, append([]string{}, x.Groups...), x.Disabled, x.Addr, x.Password})
				}
				return c.show(list, func(w *tabwriter.Writer) {
					fmt.Fprintln(w, "NAME\tSTATE\tPASSWORD\tADDRESS\tGROUPS")
					for _, x := range list {
						state, password, address := "active", "yes", "any"
						if x.Disabled {
							state = "disabled"
						}
						if !x.Password {
							password = "none"
						}
						if x.Address.IsValid() {
							address = x.Address.String()
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.Name, state, password, address, orDash(strings.Join(x.Groups, ", ")))
					}
				})
			})
		},
	}
}
