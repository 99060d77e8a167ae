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

func sessionHistory(c *cli) *cobra.Command {
	var limit int
	var f sessionFilter
	var events, totals bool
	cmd := &cobra.Command{
		Use:   "history [SESSION]...",
		Short: "List sessions from their start to their end",
		Long: "List sessions, one line each: when it began, when it ended, what it has used, and why it ended: the cause that its\n" +
			"NAS gives, and where one of us wished it to end, the reason for that. A session without an end goes on.\n\n" +
			"With --events the starts and stops are listed as they came; with --totals one line for each user, what his sessions\n" +
			"in the list have used.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return fmt.Errorf("-n %d: want 1 or more", limit)
			}
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				if err := f.prepare(cfg, time.Now()); err != nil {
					return err
				}
				r := service.NewSessions(cfg, st)
				match := f.inHistory(args)
				if events {
					return c.sessionEvents(cmd, r, f.when, limit, match)
				}
				list, err := r.Spans(cmd.Context(), f.when, limit, match)
				switch {
				case err != nil:
					return err
				case totals:
					return c.showUsed(list)
				}
				return c.showSpans(list)
			})
		},
	}
	f.add(c, cmd, false)
	cmd.Flags().IntVarP(&limit, "number", "n", 50, "at most `N`, the newest")
	cmd.Flags().BoolVar(&events, "events", false, "starts and stops, each in its line")
	cmd.Flags().BoolVar(&totals, "totals", false, "one line for each user")
	cmd.MarkFlagsMutuallyExclusive("events", "totals")
	return cmd
}

// inHistory is match for sessions of these names; nil: all are meant.
func (f *sessionFilter) inHistory(names []string) func(*session.Record) bool {
	g := *f
	g.since, g.state = "", ""
	if len(names) == 0 && !g.any() {
		return nil
	}
	return func(rec *session.Record) bool {
		if !g.match(rec) {
			return false
		}
		for _, n := range names {
			if rec.ID == n || rec.Acct == n {
				return true
			}
		}
		return len(names) == 0
	}
}

func (c *cli) sessionEvents(cmd *cobra.Command, r *session.Registry, since time.Time, limit int, match func(*session.Record) bool) error {
	var list []session.Event
	var err error
	if match == nil && since.IsZero() {
		list, err = r.History(cmd.Context(), limit)
	} else {
		if match == nil {
			match = func(*session.Record) bool { return true }
		}
		list, err = r.EventsOf(cmd.Context(), since, match)
		list = list[max(0, len(list)-limit):]
	}
	if err != nil {
		return err
	}
	return c.showEvents(list)
}

func (c *cli) showEvents(list []session.Event) error {
	if list == nil {
		list = []session.Event{}
	}
	return c.show(list, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "AT\tEVENT\tUSER\tNODE\tTIME\tIN\tOUT\tCAUSE\tSESSION")
		for i := range list {
			e := &list[i]
			lasted, cause := "-", "-"
			if e.Kind == session.EventStop {
				lasted, cause = e.Usage.Time.Round(time.Second).String(), endedFor(&e.Record)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", moment(e.At), e.Kind, visible(e.User), visible(e.Node), lasted,
				octets(e.Usage.InOctets), octets(e.Usage.OutOctets), cause, visible(e.Acct))
		}
	})
}

// endedFor says why a session ended: what its NAS says, and what we had wished.
func endedFor(rec *session.Record) string {
	if rec.Why != "" {
		return rec.Cause.String() + " (" + visible(rec.Why) + ")"
	}
	return rec.Cause.String()
}

func (c *cli) showSpans(list []session.Span) error {
	return c.show(list, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tADDRESS\tFROM\tNODE\tBEGAN\tENDED\tTIME\tIN\tOUT\tCAUSE\tSESSION")
		for i := range list {
			x := &list[i]
			lasted, cause := "-", "-"
			if x.Stops > 0 {
				lasted, cause = x.Usage.Time.Round(time.Second).String(), endedFor(&x.Record)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(x.User), addrOrDash(x.Addr), addrOrDash(x.Source), visible(x.Node),
				moment(x.Started), moment(x.Ended), lasted, octets(x.Usage.InOctets), octets(x.Usage.OutOctets), cause, visible(x.Acct))
		}
	})
}

func (c *cli) showUsed(list []session.Span) error {
	recs := make([]*session.Record, len(list))
	for i := range list {
		recs[i] = &list[i].Record
	}
	all := usageOf(recs)
	return c.show(all, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tSESSIONS\tTIME\tIN\tOUT")
		for _, u := range all {
			fmt.Fprintf(w, "%s\t%d\t%v\t%s\t%s\n", visible(u.User), u.Sessions, u.Usage.Time.Round(time.Second), octets(u.Usage.InOctets), octets(u.Usage.OutOctets))
		}
	})
}
