package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
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
	var name, node, reason, message string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "end [SESSION]...",
		Short: "End sessions",
		Long: "End sessions: those named, as `session list` shows them or as NODE/SESSION, or all of a user or of a node.\n\n" +
			"The services ask the nodes, and go on until they answer. This needs a store that services share (store: {kind: redis}).\n" +
			"With the embedded store of a running service, `postern user set NAME --disable` ends the sessions of an account.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && name == "" && node == "" {
				return errors.New("which sessions? Name some, or give --user or --node")
			}
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				r := service.NewSessions(cfg, st)
				list, err := chosen(cmd, cfg, r, args, name, node)
				if err != nil {
					return err
				}
				if !cmd.Flags().Changed("message") {
					message = "Ended by an operator"
				}
				for _, rec := range list {
					if _, err := r.AskEnd(cmd.Context(), session.Wish{
						Session: rec.ID, Opened: rec.Opened, Reason: authz.EndedByOperator.String(), Detail: operator(reason), Text: message, Asked: time.Now().UTC(),
					}); err != nil {
						return err
					}
				}
				if cfg.Store.Kind == config.StoreEmbedded { // it is ours now, and no service runs
					wait = 0
				}
				return c.awaitEnd(cmd.Context(), r, list, wait)
			})
		},
	}
	cmd.Flags().StringVar(&name, "user", "", "all sessions of user `NAME`")
	cmd.Flags().StringVar(&node, "node", "", "only sessions of node `NAME`")
	cmd.Flags().StringVar(&reason, "reason", "", "`WHY`, for the audit log")
	cmd.Flags().StringVar(&message, "message", "", "`TEXT` for the user, where his client shows it")
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long to wait for the sessions' end; 0s is not at all")
	_ = cmd.RegisterFlagCompletionFunc("user", c.completeUser)
	return cmd
}

// chosen are the sessions meant. A name that is none's is a mistake, and so is one
// that is several nodes'.
func chosen(cmd *cobra.Command, cfg *config.Service, r *session.Registry, names []string, of, node string) ([]session.Record, error) {
	var list []session.Record
	var err error
	if of != "" {
		list, err = byUser(cmd, cfg, r, of)
	} else {
		list, err = r.All(cmd.Context())
	}
	if err != nil {
		return nil, err
	}
	list = onNode(list, node)
	if len(names) == 0 {
		return list, nil
	}
	var picked []session.Record
	for _, n := range names {
		var found []session.Record
		for _, rec := range list {
			if rec.ID == n || rec.Acct == n {
				found = append(found, rec)
			}
		}
		switch len(found) {
		case 0:
			return nil, fmt.Errorf("no live session %q", n)
		case 1:
			picked = append(picked, found[0])
		default:
			ids := make([]string, len(found))
			for i, rec := range found {
				ids[i] = rec.ID
			}
			return nil, fmt.Errorf("session %q is on several nodes: name one of %s", n, strings.Join(ids, ", "))
		}
	}
	return picked, nil
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

// awaitEnd waits until the sessions are gone, and tells which are.
func (c *cli) awaitEnd(ctx context.Context, r *session.Registry, list []session.Record, wait time.Duration) error {
	out := make([]endingJSON, len(list))
	for i, rec := range list {
		out[i] = endingJSON{Session: rec.ID, User: rec.User, Node: rec.Node}
	}
	left := len(list)
	for until := time.Now().Add(wait); left > 0 && time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		for i, rec := range list {
			if out[i].Ended {
				continue
			}
			now, found, err := r.Get(ctx, rec.ID)
			if err != nil {
				return err
			}
			if !found || !now.Opened.Equal(rec.Opened) {
				out[i].Ended = true
				left--
			}
		}
	}
	err := c.show(out, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tNODE\tSESSION\tRESULT")
		for i, e := range out {
			result := "asked to end"
			if e.Ended {
				result = "ended"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.User, visible(e.Node), visible(list[i].Acct), result)
		}
	})
	if err == nil && left > 0 && wait > 0 {
		return fmt.Errorf("%d of %d sessions have not ended within %v; the services go on asking (see session list)", left, len(list), wait)
	}
	return err
}
