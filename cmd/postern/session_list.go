package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/authz/session"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

// leastWatch bounds how often a watch looks: it reads all the sessions that it shows.
const leastWatch = 100 * time.Millisecond

func sessionList(c *cli) *cobra.Command {
	var f sessionFilter
	var totals bool
	var watch time.Duration
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the live sessions",
		Long: "List the live sessions, all or those that everything holds of that is given. A session is pending until its NAS\n" +
			"reports it, active, quarantined, or ending when its NAS has been asked to end it.\n\n" +
			"With --totals one line for each user: his live sessions and what they have used, and beside it what all his sessions\n" +
			"have used since they are counted. With --watch the list is shown again and again until Ctrl-C, with -o json as one\n" +
			"line of JSON each time.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("watch") && watch < leastWatch {
				return fmt.Errorf("--watch %v: want %v or more", watch, leastWatch)
			}
			return c.withStore(func(cfg *config.Service, st store.Store) error {
				if err := f.prepare(cfg, time.Now()); err != nil {
					return err
				}
				r := service.NewSessions(cfg, st)
				once := func(c *cli) error {
					list, err := f.live(cmd, r)
					if err != nil {
						return err
					}
					if totals {
						return c.showUsage(cmd, r, list)
					}
					return c.showSessions(list)
				}
				if watch == 0 {
					return once(c)
				}
				return c.again(cmd, watch, once)
			})
		},
	}
	f.add(c, cmd, true)
	cmd.Flags().BoolVar(&totals, "totals", false, "one line for each user")
	cmd.Flags().DurationVarP(&watch, "watch", "w", 0, "show it again every `INTERVAL`, 2s unless one is given")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
	return cmd
}

// again shows something until the command is ended. A terminal shows the newest only.
func (c *cli) again(cmd *cobra.Command, every time.Duration, show func(*cli) error) error {
	f, ok := c.out.(*os.File)
	page := ok && term.IsTerminal(int(f.Fd())) && c.output != "json"
	for {
		var b bytes.Buffer
		one := *c
		one.out = &b
		if err := show(&one); err != nil {
			if cmd.Context().Err() != nil {
				err = nil // Ctrl-C, while it looked
			}
			return err
		}
		text := b.Bytes()
		switch {
		case c.output == "json":
			var line bytes.Buffer
			if err := json.Compact(&line, text); err != nil {
				return err
			}
			line.WriteByte('\n')
			text = line.Bytes()
		case page:
			const clear = "\x1b[H\x1b[2J"
			text = fmt.Appendf(nil, "%s%s, every %v; Ctrl-C ends it\n\n%s", clear, time.Now().Format(time.DateTime), every, text)
		default:
			text = fmt.Appendf(nil, "%s\n%s\n", time.Now().Format(time.DateTime), text)
		}
		if _, err := c.out.Write(text); err != nil {
			return err
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-time.After(every):
		}
	}
}

func (c *cli) showSessions(list []liveSession) error {
	return c.show(list, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tADDRESS\tFROM\tNODE\tSTATE\tSINCE\tIN\tOUT\tFACTOR\tSESSION")
		for i := range list {
			x := &list[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(x.User), addrOrDash(x.Addr), addrOrDash(x.Source), visible(x.Node),
				x.state(), moment(x.Opened), octets(x.Usage.InOctets), octets(x.Usage.OutOctets), orDash(x.Factor), visible(x.Acct))
		}
	})
}

func addrOrDash(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// usage is what some sessions of a user have used together.
type usage struct {
	User     string          `json:"user"`
	Sessions int             `json:"sessions"`
	Usage    session.Usage   `json:"usage"`
	All      *session.Totals `json:"all,omitempty"` // that were counted, ended ones included
}

// usageOf adds up by user, who has used most first.
func usageOf(recs []*session.Record) []usage {
	byUser := make(map[string]*usage)
	for _, rec := range recs {
		u := byUser[rec.User]
		if u == nil {
			u = &usage{User: rec.User}
			byUser[rec.User] = u
		}
		u.Sessions++
		u.Usage.Time += rec.Usage.Time
		u.Usage.InOctets += rec.Usage.InOctets
		u.Usage.OutOctets += rec.Usage.OutOctets
		u.Usage.InPackets += rec.Usage.InPackets
		u.Usage.OutPackets += rec.Usage.OutPackets
	}
	all := make([]usage, 0, len(byUser))
	for _, u := range byUser {
		all = append(all, *u)
	}
	slices.SortFunc(all, func(a, b usage) int {
		return cmp.Or(cmp.Compare(b.Usage.InOctets+b.Usage.OutOctets, a.Usage.InOctets+a.Usage.OutOctets), cmp.Compare(a.User, b.User))
	})
	return all
}

func (c *cli) showUsage(cmd *cobra.Command, r *session.Registry, list []liveSession) error {
	recs := make([]*session.Record, len(list))
	for i := range list {
		recs[i] = &list[i].Record
	}
	all := usageOf(recs)
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].User
	}
	sums, err := r.Totals(cmd.Context(), names...)
	if err != nil {
		return err
	}
	for i := range sums {
		all[i].All = &sums[i]
	}
	return c.show(all, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "USER\tSESSIONS\tTIME\tIN\tOUT\tALL SESSIONS\tALL TIME\tALL IN\tALL OUT\tCOUNTED SINCE")
		for _, u := range all {
			fmt.Fprintf(w, "%s\t%d\t%v\t%s\t%s\t%d\t%v\t%s\t%s\t%s\n", visible(u.User), u.Sessions, u.Usage.Time.Round(time.Second), octets(u.Usage.InOctets), octets(u.Usage.OutOctets),
				u.All.Sessions, u.All.Usage.Time.Round(time.Second), octets(u.All.Usage.InOctets), octets(u.All.Usage.OutOctets), moment(u.All.Since))
		}
	})
}
