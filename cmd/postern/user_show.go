package main

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/service"
)

// accountJSON is what the directory knows of somebody, as programs see it.
type accountJSON struct {
	Name            string     `json:"name"` // canonical
	Realm           string     `json:"realm,omitempty"`
	SID             string     `json:"sid,omitempty"`
	Ref             string     `json:"ref,omitempty"`
	State           string     `json:"state"`
	Groups          []string   `json:"groups"`
	Address         netip.Addr `json:"address,omitzero"`
	PasswordSet     time.Time  `json:"password_set,omitzero"`
	PasswordExpires time.Time  `json:"password_expires,omitzero"`
}

// userShow asks the directories what a login would ask them.
func userShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "What the directories know of a user, of any realm",
		Long: "Find a user as a login would, under a name as it is typed: alice, CORP\\alice, alice@corp.example. Shown are the\n" +
			"canonical name, which sessions and counters go by, the account's state, when its password expires, and its groups\n" +
			"as a policy may name them.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			ring, err := service.OpenRing(cfg, false)
			if err != nil {
				return err
			}
			dir, err := service.OpenDirectory(cfg, ring, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer dir.Close()
			n := authz.AskedName(mfa.SplitCode(args[0], byte(cfg.MFA.Separator)))
			a, err := dir.Find(cmd.Context(), n)
			if r, no := directory.IsRejected(err); no {
				if r.Detail != "" {
					return fmt.Errorf("%s: %w: %s", args[0], directory.ErrNotFound, r.Detail)
				}
				return fmt.Errorf("%s: %w", args[0], directory.ErrNotFound)
			}
			if err != nil {
				return err
			}
			return c.showAccount(a, time.Now())
		},
	}
}

func (c *cli) showAccount(a *directory.Account, now time.Time) error {
	v := accountJSON{
		Name: a.Name, Realm: a.Realm, SID: a.SID, Ref: a.Ref, State: a.State.String(), Groups: append([]string{}, a.Groups...),
		Address: a.Addr, PasswordSet: a.PasswordSet, PasswordExpires: a.PasswordExpires,
	}
	return c.show(v, func(w *tabwriter.Writer) {
		for _, row := range [][2]string{
			{"NAME", v.Name}, {"REALM", v.Realm}, {"SID", v.SID}, {"ENTRY", v.Ref}, {"STATE", v.State},
			{"PASSWORD SET", moment(v.PasswordSet)}, {"PASSWORD EXPIRES", expiry(v.PasswordExpires, now)},
			{"GROUPS", strings.Join(v.Groups, ", ")},
		} {
			if row[1] != "" && row[1] != "-" {
				fmt.Fprintf(w, "%s\t%s\n", row[0], visible(row[1]))
			}
		}
	})
}

// expiry says when, and in how many days.
func expiry(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	days := int(t.Sub(now) / (24 * time.Hour))
	if t.Before(now) {
		return fmt.Sprintf("%s, %d days ago", moment(t), -days)
	}
	return fmt.Sprintf("%s, in %d days", moment(t), days)
}
