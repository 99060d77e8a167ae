package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
)

// revocationJSON is what a user had, and what became of it.
type revocationJSON struct {
	User     string        `json:"user"`
	DryRun   bool          `json:"dry_run,omitempty"`
	Grants   []grantRow    `json:"remembered"`
	Sessions []endingJSON  `json:"sessions"`
	Live     []liveSession `json:"live,omitempty"` // of a dry run
	// New are sessions that were opened since we began: the account is let in still.
	New      []string `json:"new,omitempty"`
	Reviewed bool     `json:"reviewed,omitempty"` // the sessions were looked at again instead
	Took     string   `json:"took,omitempty"`
}

// revocation is how `user revoke` goes about it.
type revocation struct {
	s      *secondFactors
	r      *session.Registry
	name   string
	review bool
	wish   session.Wish
	wait   time.Duration
}

func userRevoke(c *cli) *cobra.Command {
	var reason, message string
	var wait time.Duration
	var dry, yes, review bool
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "End all sessions of a user on all nodes, and forget his remembered factors",
		Long: "Take back all that lets NAME be in now: his remembered second factors are forgotten, so that whoever comes again\n" +
			"must give one, and all his sessions on all nodes are ended, within seconds. What would be taken back is shown first,\n" +
			"and asked for; --yes does not ask, --dry-run only shows.\n\n" +
			"With --review the sessions are not ended, but looked at again by the policy in force: those end that lived on a\n" +
			"remembered factor, or that are not permitted any more.\n\n" +
			"The account stays as it is: who knows its password and has its token may log in again. Disable it first where that is\n" +
			"not meant: in its directory, or with `postern user set NAME --disable`.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withFactors(func(s *secondFactors) error {
				name, known, err := s.canonical(args[0])
				if err != nil {
					return err
				}
				if !cmd.Flags().Changed("message") {
					message = "Ended by an operator"
				}
				v := &revocation{
					s: s, r: service.NewSessions(s.cfg, s.store), name: name, review: review, wait: wait,
					wish: session.Wish{Reason: authz.Revoked.String(), Detail: operator(reason), Text: message, Asked: time.Now().UTC()},
				}
				if s.cfg.Store.Kind == config.StoreEmbedded { // no service runs that could do it
					v.wait = 0
				}
				had, err := v.have(cmd)
				if err != nil {
					return err
				}
				if !known && len(had.Live)+len(had.Grants) == 0 {
					return fmt.Errorf("no user %q, and no session or remembered factor of one", args[0])
				}
				if dry {
					had.DryRun = true
					return c.showRevocable(had)
				}
				if !yes && c.output != "json" {
					if err := c.showRevocable(had); err != nil {
						return err
					}
				}
				if err := c.sure(yes, "Type the user's name to take all of this back, %s: ", name); err != nil {
					return err
				}
				return v.run(cmd.Context(), c, had)
			})
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&dry, "dry-run", false, "show what would be taken back, and take nothing back")
	fl.BoolVar(&yes, "yes", false, "do not ask")
	fl.BoolVar(&review, "review", false, "have the sessions looked at again instead of ending them")
	fl.StringVar(&reason, "reason", "", "`WHY`, for the audit log")
	fl.StringVar(&message, "message", "", "`TEXT` for the user, where his client shows it")
	fl.DurationVar(&wait, "wait", 15*time.Second, "how long to wait for the sessions' end; 0s is not at all")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "yes")
	return cmd
}

// have is what the user has now.
func (v *revocation) have(cmd *cobra.Command) (had revocationJSON, err error) {
	had = revocationJSON{User: v.name, Sessions: []endingJSON{}}
	f := sessionFilter{name: v.name}
	if had.Live, err = f.live(cmd, v.r); err != nil {
		return had, err
	}
	had.Grants, err = v.s.grantsOf(cmd, v.name)
	return had, err
}

func (c *cli) showRevocable(had revocationJSON) error {
	return c.show(had, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%s has %d live sessions and %d remembered factors\n", had.User, len(had.Live), len(had.Grants))
		if len(had.Live) > 0 {
			fmt.Fprintln(w, "SESSION\tNODE\tADDRESS\tFROM\tSTATE\tSINCE")
			for i := range had.Live {
				x := &had.Live[i]
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", visible(x.Acct), visible(x.Node), addrOrDash(x.Addr), addrOrDash(x.Source), x.state(), moment(x.Opened))
			}
		}
		if len(had.Grants) > 0 {
			fmt.Fprintln(w, "GRANT\tFACTOR\tNETWORK\tDEVICE\tGIVEN\tUNTIL")
			for _, g := range had.Grants {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.Factor, g.Network, visible(g.Device), moment(g.Given), moment(g.Until))
			}
		}
	})
}

// run takes it back: first what lets him in, so that nobody who is ended comes back with
// it, then the sessions, those included that came up meanwhile.
func (v *revocation) run(ctx context.Context, c *cli, had revocationJSON) error {
	began := time.Now()
	had.Live = nil
	n, err := v.s.grants().RevokeAll(ctx, v.name)
	if err == nil && v.review {
		err = v.r.AskReview(ctx, "revoked "+v.wish.Detail, v.name)
	}
	if err != nil {
		return err
	}
	c.hint("%d remembered factors are forgotten", n)
	now, err := v.r.ByUser(ctx, v.name)
	if err != nil {
		return err
	}
	if v.review {
		return v.reviewed(ctx, c, had, now, began)
	}
	if len(now) > 0 {
		if _, err := v.r.AskEnds(ctx, now, v.wish); err != nil {
			return err
		}
		c.hint("%d sessions on %s are asked to end", len(now), count(nodesOf(now), "node"))
	}
	e := newEndings(now)
	if err := e.wait(ctx, c, v.r, v.wait); err != nil {
		return err
	}
	had.Sessions = e.out
	if had.New, err = v.since(ctx, now); err != nil {
		return err
	}
	had.Took = time.Since(began).Round(time.Millisecond).String()
	if err := c.show(had, func(w *tabwriter.Writer) {
		if len(now) > 0 {
			e.table(w)
		}
		fmt.Fprintf(w, "%s: %d of %d sessions ended, %d remembered factors forgotten, in %s\n", v.name, len(now)-e.left, len(now), n, had.Took)
	}); err != nil {
		return err
	}
	if len(had.New) > 0 {
		c.hint("%s has logged in again meanwhile (%d sessions): the account is let in still. `postern user set NAME --disable`, or the directory, shuts it.", v.name, len(had.New))
	}
	return e.missing(v.wait)
}

// since are the sessions that are up now and were not before.
func (v *revocation) since(ctx context.Context, before []session.Record) (fresh []string, err error) {
	now, err := v.r.ByUser(ctx, v.name)
	for _, rec := range now {
		if !slices.ContainsFunc(before, func(b session.Record) bool { return b.ID == rec.ID && b.Opened.Equal(rec.Opened) }) {
			fresh = append(fresh, rec.ID)
		}
	}
	return fresh, err
}

// reviewed waits until a service has looked at the sessions again, and tells what came of
// them.
func (v *revocation) reviewed(ctx context.Context, c *cli, had revocationJSON, before []session.Record, began time.Time) error {
	waiting := true
	for until := began.Add(v.wait); waiting && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		var err error
		if waiting, err = v.r.Asking(ctx, v.name); err != nil {
			return err
		}
	}
	e := newEndings(before)
	if err := e.look(ctx, v.r); err != nil {
		return err
	}
	ending, err := v.r.Ending(ctx)
	if err != nil {
		return err
	}
	had.Sessions, had.Reviewed = e.out, !waiting
	had.Took = time.Since(began).Round(time.Millisecond).String()
	err = c.show(had, func(w *tabwriter.Writer) {
		if len(before) > 0 {
			fmt.Fprintln(w, "USER\tNODE\tSESSION\tRESULT")
		}
		for i, x := range e.out {
			result := "goes on"
			switch {
			case x.Ended:
				result = "ended"
			case ending[x.Session]:
				result = "asked to end"
			case waiting:
				result = "to be looked at"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.User, visible(x.Node), visible(before[i].Acct), result)
		}
		fmt.Fprintf(w, "%s: %d sessions, %d remembered factors forgotten, in %s\n", v.name, len(before), len(had.Grants), had.Took)
	})
	if err == nil && waiting && v.wait > 0 {
		return fmt.Errorf("no service has looked at the sessions within %v; one will as soon as it runs", v.wait)
	}
	return err
}

func nodesOf(recs []session.Record) int {
	nodes := make(map[string]bool)
	for _, rec := range recs {
		nodes[rec.Node] = true
	}
	return len(nodes)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
