package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// endingJSON is one session that was asked to end.
type endingJSON struct {
	Session string `json:"session"` // ID
	User    string `json:"user"`
	Node    string `json:"node"`
	Ended   bool   `json:"ended"`
}

func sessionEnd(c *cli) *cobra.Command {
	var f sessionFilter
	var reason, message string
	var wait time.Duration
	var dry bool
	cmd := &cobra.Command{
		Use:   "end [SESSION]...",
		Short: "End sessions",
		Long: "End sessions: those named, as `session list` shows them or as NODE/SESSION, or all that everything holds of that is\n" +
			"given. --dry-run shows which these are and ends none.\n\n" +
			"The services ask the nodes, and go on until they answer. This needs a store that services share (store: {kind: redis}).\n" +
			"With the embedded store of a running service, `postern user set NAME --disable` ends the sessions of an account.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !f.any() {
				return errors.New("which sessions? Name some, or give --user, --node or another condition")
			}
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				if err := f.prepare(cfg, time.Now()); err != nil {
					return err
				}
				r := service.NewSessions(cfg, st)
				list, err := f.live(cmd, r)
				if err != nil {
					return err
				}
				if list, err = named(list, args); err != nil {
					return err
				}
				if dry {
					return c.showSessions(list)
				}
				if !cmd.Flags().Changed("message") {
					message = "Ended by an operator"
				}
				recs := records(list)
				w := session.Wish{Reason: authz.EndedByOperator.String(), Detail: operator(reason), Text: message, Asked: time.Now().UTC()}
				if _, err := r.AskEnds(cmd.Context(), recs, w); err != nil {
					return err
				}
				if cfg.Store.Kind == config.StoreEmbedded { // it is ours now, and no service runs
					wait = 0
				}
				return c.awaitEnd(cmd.Context(), r, recs, wait)
			})
		},
	}
	f.add(c, cmd, true)
	cmd.Flags().StringVar(&reason, "reason", "", "`WHY`, for the audit log")
	cmd.Flags().StringVar(&message, "message", "", "`TEXT` for the user, where his client shows it")
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long to wait for the sessions' end; 0s is not at all")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show which sessions would be ended, and end none")
	return cmd
}

func records(list []liveSession) []session.Record {
	recs := make([]session.Record, len(list))
	for i := range list {
		recs[i] = list[i].Record
	}
	return recs
}

// operator is who asks, and why, for the audit log.
func operator(reason string) string {
	who := "by an unknown operator"
	if u, err := user.Current(); err == nil {
		who = "by " + u.Username
	}
	if reason != "" {
		who += ": " + reason
	}
	return who
}

// endings watches sessions end.
type endings struct {
	recs []session.Record
	out  []endingJSON
	left int
}

func newEndings(recs []session.Record) *endings {
	e := &endings{recs: recs, out: make([]endingJSON, len(recs)), left: len(recs)}
	for i, rec := range recs {
		e.out[i] = endingJSON{Session: rec.ID, User: rec.User, Node: rec.Node}
	}
	return e
}

// look finds out which are gone by now.
func (e *endings) look(ctx context.Context, r *session.Registry) error {
	var ids []string
	for i := range e.out {
		if !e.out[i].Ended {
			ids = append(ids, e.out[i].Session)
		}
	}
	seen, err := r.Look(ctx, ids...)
	if err != nil {
		return err
	}
	up := make(map[string]time.Time, len(seen))
	for _, s := range seen {
		up[s.ID] = s.Opened
	}
	for i := range e.out {
		if opened, found := up[e.out[i].Session]; !e.out[i].Ended && (!found || !opened.Equal(e.recs[i].Opened)) {
			e.out[i].Ended = true
			e.left--
		}
	}
	return nil
}

// wait waits for the end of all, and tells of progress.
func (e *endings) wait(ctx context.Context, c *cli, r *session.Registry, wait time.Duration) error {
	told := e.left
	for until := time.Now().Add(wait); e.left > 0 && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		if err := e.look(ctx, r); err != nil {
			return err
		}
		if e.left != told {
			told = e.left
			c.hint("%d of %d sessions have ended", len(e.out)-e.left, len(e.out))
		}
	}
	return nil
}

func (e *endings) table(w *tabwriter.Writer) {
	fmt.Fprintln(w, "USER\tNODE\tSESSION\tRESULT")
	for i, x := range e.out {
		result := "asked to end"
		if x.Ended {
			result = "ended"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.User, visible(x.Node), visible(e.recs[i].Acct), result)
	}
}

// missing is the error of sessions that go on.
func (e *endings) missing(wait time.Duration) error {
	if e.left == 0 || wait == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d sessions have not ended within %v; the services go on asking (see session list)", e.left, len(e.out), wait)
}

// awaitEnd waits until the sessions are gone, and tells which are.
func (c *cli) awaitEnd(ctx context.Context, r *session.Registry, recs []session.Record, wait time.Duration) error {
	e := newEndings(recs)
	if err := e.wait(ctx, c, r, wait); err != nil {
		return err
	}
	if err := c.show(e.out, e.table); err != nil {
		return err
	}
	return e.missing(wait)
}
