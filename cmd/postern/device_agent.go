package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/posture/agent"
	"postern/cmd/internal/service"
)

// agents is the desk at which devices enrol.
func (s *secondFactors) agents() *agent.Desk {
	return service.NewAgents(s.store, s.ring, service.NewPosture(s.store, service.NewSessions(s.cfg, s.store)))
}

func deviceTicket(c *cli) *cobra.Command {
	var life time.Duration
	var device, revoke string
	cmd := &cobra.Command{
		Use:   "ticket NAME",
		Short: "Let a user enrol a computer with postern-agent, once",
		Long: "Make a ticket with which `postern-agent enrol` makes one computer NAME's, once, and show it: who has it can\n" +
			"enrol, so hand it over as you would a password. Users can make one for themselves in the portal.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				if revoke != "" {
					name, _, err := s.canonical(args[0])
					if err != nil {
						return err
					}
					if err := s.agents().RevokeTicket(cmd.Context(), name, revoke); err != nil {
						return err
					}
					return c.say(map[string]any{"user": name, "id": revoke, "done": "revoked"}, "ticket %s of %s revoked", revoke, name)
				}
				name, err := s.person(args[0])
				if err != nil {
					return err
				}
				t, err := s.agents().NewTicket(cmd.Context(), name, device, life)
				if err != nil {
					return err
				}
				v := map[string]any{"user": name, "id": t.ID, "code": t.Code, "until": t.Until, "device": device, "server": string(s.cfg.Portal.URL)}
				return c.show(v, func(w *tabwriter.Writer) {
					fmt.Fprintf(w, "user\t%s\nticket\t%s\ngood until\t%s\nthere\tpostern-agent enrol --server %s --ticket -\n",
						name, t.Code, moment(t.Until), orDash(string(s.cfg.Portal.URL)))
				})
			})
		},
	}
	cmd.Flags().DurationVar(&life, "for", 24*time.Hour, "how long it is good, up to 720h")
	cmd.Flags().StringVar(&device, "device", "", "the `ID` that the computer gets, as an inventory knows it; else one of its host name")
	cmd.Flags().StringVar(&revoke, "revoke", "", "take the ticket with this `ID` back")
	return cmd
}

func deviceRevoke(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Believe a computer's reports no longer",
		Long: "Forget the key of the computer with this ID, and what it reported; sessions that it let in are looked at again.\n" +
			"It can be enrolled anew, with a new ticket.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				d, err := s.agents().Revoke(cmd.Context(), args[0], "")
				if err != nil {
					return err
				}
				return c.say(map[string]any{"device": d.ID, "user": d.User, "done": "revoked"}, "%s of %s revoked", d.ID, d.User)
			})
		},
	}
}
