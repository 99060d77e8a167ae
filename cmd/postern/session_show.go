package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// sessionJSON is all that is known of a session.
type sessionJSON struct {
	Session session.Record  `json:"session"`
	Live    bool            `json:"live"`
	Ending  *session.Wish   `json:"ending,omitempty"` // what its NAS is asked for
	Events  []session.Event `json:"events"`
}

func sessionShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show SESSION",
		Short: "Show all that is known of a session",
		Long: "Show all that is known of a session, as `session list` and `session history` name it or as NODE/SESSION: one that is\n" +
			"up, or the last of that name that has ended.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				v, err := knownOf(cmd, service.NewSessions(cfg, st), args[0])
				if err != nil {
					return err
				}
				return c.showSession(v)
			})
		},
	}
}

// knownOf finds a session, and its events.
func knownOf(cmd *cobra.Command, r *session.Registry, name string) (v sessionJSON, err error) {
	ctx := cmd.Context()
	rec, live, err := r.Get(ctx, name) // most often no list is needed
	if err != nil {
		return v, err
	}
	if !live {
		list, err := new(sessionFilter).live(cmd, r)
		if err != nil {
			return v, err
		}
		some, err := named(list, []string{name})
		if err == nil {
			rec, live = some[0].Record, true
		} else if !errors.Is(err, errNoSession) {
			return v, err
		}
	}
	v = sessionJSON{Session: rec, Live: live, Events: []session.Event{}}
	if live {
		w, found, err := r.WishOf(ctx, session.WishEnd, rec.ID)
		if err != nil {
			return v, err
		}
		if found && w.Opened.Equal(rec.Opened) {
			v.Ending = &w
		}
	} else {
		past, err := r.Spans(ctx, time.Time{}, 1, func(rec *session.Record) bool { return rec.ID == name || rec.Acct == name })
		if err != nil {
			return v, err
		}
		if len(past) == 0 {
			return v, fmt.Errorf("no session %q, and none in the history", name)
		}
		v.Session = past[0].Record
	}
	events, err := r.EventsOf(ctx, time.Time{}, func(rec *session.Record) bool {
		return rec.ID == v.Session.ID && rec.Opened.Equal(v.Session.Opened)
	})
	v.Events = append(v.Events, events...)
	return v, err
}

func (c *cli) showSession(v sessionJSON) error {
	s := &v.Session
	state := liveSession{*s, v.Ending != nil}
	return c.show(v, func(w *tabwriter.Writer) {
		wish := ""
		if v.Ending != nil {
			wish = strings.TrimSuffix(v.Ending.Reason+": "+v.Ending.Detail, ": ") + ", since " + moment(v.Ending.Asked)
		}
		cause := ""
		if s.State == session.Closed {
			if cause = s.Cause.String(); s.Disconnect != 0 {
				cause += ", " + s.Disconnect.String()
			}
		}
		for _, row := range [][2]string{
			{"SESSION", s.ID}, {"STATE", state.state()}, {"USER", s.User}, {"REALM", s.Realm}, {"SID", s.SID},
			{"NODE", s.Node}, {"NAS", strings.Trim(s.NASID+" "+addrOrDash(s.NASAddr), " -")}, {"THROUGH", s.Via},
			{"FROM", addrOrDash(s.Source)}, {"CLIENT", strings.TrimSpace(s.Client + " " + s.Version)}, {"TUNNEL", s.Tunnel},
			{"DEVICE", strings.TrimSuffix(s.Device+", found by "+s.Join, ", found by ")},
			{"ADDRESS", addrOrDash(s.Addr)}, {"POOL", s.Pool},
			{"RULE", s.Rule}, {"POLICY", s.Policy}, {"DECISION", s.Decision},
			{"FACTOR", strings.TrimSpace(s.Factor + " " + s.Remembered)}, {"GRANT", s.Grant}, {"GRANT ENDS", moment(s.GrantEnd)},
			{"QUARANTINE UNTIL", moment(s.Quarantine)}, {"DEMANDS", s.Demands}, {"DUE", moment(s.Due)},
			{"OPENED", moment(s.Opened)}, {"STARTED", moment(s.Started)}, {"HEARD OF", moment(s.Touched)}, {"ENDED", moment(s.Ended)},
			{"TIME", s.Usage.Time.Round(time.Second).String()},
			{"IN", fmt.Sprintf("%s, %d packets", octets(s.Usage.InOctets), s.Usage.InPackets)},
			{"OUT", fmt.Sprintf("%s, %d packets", octets(s.Usage.OutOctets), s.Usage.OutPackets)},
			{"CAUSE", cause}, {"ENDED FOR", strings.TrimSuffix(s.Why+": "+s.WhyDetail, ": ")}, {"TO END", wish},
		} {
			if row[1] != "" && row[1] != "-" {
				fmt.Fprintf(w, "%s\t%s\n", row[0], visible(row[1]))
			}
		}
		for _, e := range v.Events {
			fmt.Fprintf(w, "%s\t%s\n", strings.ToUpper(string(e.Kind)), moment(e.At))
		}
	})
}
