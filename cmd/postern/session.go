package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

func sessionCommand(c *cli) *cobra.Command {
	return group("session", "Who is connected, and who was", sessionList(c), sessionHistory(c), sessionEnd(c))
}

func sessionList(c *cli) *cobra.Command {
	var user, node string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the live sessions",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				r, ctx := service.NewSessions(cfg, st), cmd.Context()
				var list []session.Record
				var err error
				switch {
				case user != "":
					if list, err = byUser(cmd, cfg, r, user); err != nil {
						return err
					}
					list = onNode(list, node)
				case node != "":
					list, err = r.ByNode(ctx, node)
				default:
					list, err = r.All(ctx)
				}
				if err != nil {
					return err
				}
				return c.showSessions(list)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only sessions of user `NAME`")
	cmd.Flags().StringVar(&node, "node", "", "only sessions of node `NAME`")
	_ = cmd.RegisterFlagCompletionFunc("user", c.completeUser)
	return cmd
}

func byUser(cmd *cobra.Command, cfg *config.Service, r *session.Registry, user string) ([]session.Record, error) {
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return nil, err
	}
	name, _, err := account(cfg, ring, user)
	if err != nil {
		return nil, err
	}
	return r.ByUser(cmd.Context(), name)
}

func onNode(list []session.Record, node string) []session.Record {
	var out []session.Record
	for _, x := range list {
		if node == "" || x.Node == node {
			out = append(out, x)
		}
	}
	return out
}

func (c *cli) showSessions(list []session.Record) error {
	if list == nil {
		list = []session.Record{}
	}
	return c.show(list, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tADDRESS\tFROM\tNODE\tSTATE\tSINCE\tIN\tOUT\tFACTOR\tSESSION")
		for _, x := range list {
			address := "-"
			if x.Addr.IsValid() {
				address = x.Addr.String()
			}
			from := "-"
			if x.Source.IsValid() {
				from = x.Source.String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(x.User), address, from, visible(x.Node), x.State, moment(x.Opened),
				octets(x.Usage.InOctets), octets(x.Usage.OutOctets), orDash(x.Factor), visible(x.Acct))
		}
	})
}

func sessionHistory(c *cli) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List how sessions began and ended",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("-n %d: want 1 or more", limit)
			}
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				list, err := service.NewSessions(cfg, st).History(cmd.Context(), limit)
				if err != nil {
					return err
				}
				if list == nil {
					list = []session.Event{}
				}
				return c.show(list, func(w *tabwriter.Writer) {
					fmt.Fprintln(w, "AT\tEVENT\tUSER\tNODE\tTIME\tIN\tOUT\tCAUSE\tSESSION")
					for _, e := range list {
						lasted, cause := "-", "-"
						if e.Kind == session.EventStop {
							lasted, cause = e.Usage.Time.Round(time.Second).String(), e.Cause.String()
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", moment(e.At), e.Kind, visible(e.User), visible(e.Node), lasted,
							octets(e.Usage.InOctets), octets(e.Usage.OutOctets), cause, visible(e.Acct))
					}
				})
			})
		},
	}
	cmd.Flags().IntVarP(&limit, "number", "n", 50, "at most `N` of the newest events")
	return cmd
}

// octets prints a size for people.
func octets(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
