package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/session"
	"postern/internal/config"
)

// States as the commands show them and take them: those of a record, and what else there
// is to say of a session that is up.
const (
	stateQuarantined = "quarantined" // it waits for its factor, or is isolated
	stateEnding      = "ending"      // somebody has asked its NAS to end it
)

var shownStates = []string{session.Pending.String(), session.Active.String(), stateQuarantined, stateEnding}

// sessionFilter says which sessions are meant. Everything that is given must hold.
type sessionFilter struct {
	user, node, address, device, source, rule, state, since string

	name string // canonical
	addr netip.Prefix
	from netip.Prefix
	when time.Time
}

// add adds the flags; those of a state make sense for sessions that are up.
func (f *sessionFilter) add(c *cli, cmd *cobra.Command, live bool) {
	fl := cmd.Flags()
	fl.StringVar(&f.user, "user", "", "only sessions of user `NAME`")
	fl.StringVar(&f.node, "node", "", "only sessions of node `NAME`")
	fl.StringVar(&f.address, "address", "", "only sessions that have `ADDRESS`, or one of a network")
	fl.StringVar(&f.device, "device", "", "only sessions that come from device `ID`")
	fl.StringVar(&f.source, "source", "", "only sessions whose client is at `ADDRESS`, or in a network")
	fl.StringVar(&f.rule, "rule", "", "only sessions that rule `ID` of the policy permits")
	if live {
		fl.StringVar(&f.state, "state", "", "only sessions that are `STATE`: "+strings.Join(shownStates, ", "))
		fl.StringVar(&f.since, "since", "", "only sessions that began since a `TIME`, or so long ago (14d, 36h)")
		_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(shownStates, cobra.ShellCompDirectiveNoFileComp))
	} else {
		fl.StringVar(&f.since, "since", "", "only what began or ended since a `TIME`, or so long ago (14d, 36h)")
	}
	_ = cmd.RegisterFlagCompletionFunc("user", c.completeUser)
}

// any says whether anything was given.
func (f *sessionFilter) any() bool {
	return f.user+f.node+f.address+f.device+f.source+f.rule+f.state+f.since != ""
}

// prepare reads what was given.
func (f *sessionFilter) prepare(cfg *config.Service, now time.Time) (err error) {
	if f.user != "" {
		if f.name, err = canonicalName(cfg, f.user); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		flag, text string
		to         *netip.Prefix
	}{{"address", f.address, &f.addr}, {"source", f.source, &f.from}} {
		if p.text == "" {
			continue
		}
		if *p.to, err = network(p.text); err != nil {
			return fmt.Errorf("--%s: %w", p.flag, err)
		}
	}
	if f.state != "" && !slices.Contains(shownStates, f.state) {
		return fmt.Errorf("--state %q: want one of %s", f.state, strings.Join(shownStates, ", "))
	}
	f.when, err = ago(f.since, now)
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	return nil
}

// network reads an address or a network.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network such as 10.20.0.0/24", s)
	}
	return p.Masked(), nil
}

// match says whether a session is meant, but for its state.
func (f *sessionFilter) match(rec *session.Record) bool {
	return (f.name == "" || rec.User == f.name) &&
		(f.node == "" || rec.Node == f.node) &&
		(f.device == "" || strings.EqualFold(rec.Device, f.device)) &&
		(f.rule == "" || rec.Rule == f.rule) &&
		(!f.addr.IsValid() || f.addr.Contains(rec.Addr.Unmap())) &&
		(!f.from.IsValid() || f.from.Contains(rec.Source.Unmap()))
}

// liveSession is a session that is up, as programs see it.
type liveSession struct {
	session.Record
	Ending bool `json:"ending,omitempty"` // its NAS has been asked, or is about to be
}

// state is what is shown of it.
func (s *liveSession) state() string {
	switch {
	case s.Ending:
		return stateEnding
	case !s.Quarantine.IsZero():
		return stateQuarantined
	}
	return s.State.String()
}

// live reads the sessions that are meant, by the index that has fewest.
func (f *sessionFilter) live(cmd *cobra.Command, r *session.Registry) ([]liveSession, error) {
	ctx := cmd.Context()
	var recs []session.Record
	var err error
	switch {
	case f.addr.IsValid() && f.addr.IsSingleIP():
		recs, err = r.ByAddr(ctx, f.addr.Addr())
	case f.name != "":
		recs, err = r.ByUser(ctx, f.name)
	case f.device != "":
		recs, err = r.ByDevice(ctx, f.device)
	case f.node != "":
		recs, err = r.ByNode(ctx, f.node)
	default:
		recs, err = r.All(ctx)
	}
	if err != nil {
		return nil, err
	}
	ending, err := r.Ending(ctx)
	if err != nil {
		return nil, err
	}
	list := []liveSession{}
	for i := range recs {
		s := liveSession{recs[i], ending[recs[i].ID]}
		if f.match(&s.Record) && (f.state == "" || s.state() == f.state) && (f.when.IsZero() || !s.Opened.Before(f.when)) {
			list = append(list, s)
		}
	}
	return list, nil
}

// named picks sessions by name, all of them without names. A name that is none's is a
// mistake, and so is one that is several nodes'.
func named(list []liveSession, names []string) ([]liveSession, error) {
	if len(names) == 0 {
		return list, nil
	}
	var picked []liveSession
	for _, n := range names {
		var found []liveSession
		for _, s := range list {
			if s.ID == n || s.Acct == n {
				found = append(found, s)
			}
		}
		switch len(found) {
		case 0:
			return nil, fmt.Errorf("%w %q", errNoSession, n)
		case 1:
			picked = append(picked, found[0])
		default:
			ids := make([]string, len(found))
			for i, s := range found {
				ids[i] = s.ID
			}
			return nil, fmt.Errorf("session %q is on several nodes: name one of %s", n, strings.Join(ids, ", "))
		}
	}
	return picked, nil
}

var errNoSession = errors.New("no live session")
