package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/cmd/internal/service"
)

// counterJSON is one counter as programs see it.
type counterJSON struct {
	What     string    `json:"what"`
	Failures int       `json:"failures"`
	Last     time.Time `json:"last,omitzero"`
	Strikes  int       `json:"strikes"`
	Struck   time.Time `json:"struck,omitzero"`
}

type verdictJSON struct {
	Allowed bool      `json:"allowed"`
	Locked  string    `json:"locked,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

func verdict(v lockout.Verdict) verdictJSON {
	if v.Scope == lockout.ScopeNone {
		return verdictJSON{Allowed: v.Allowed}
	}
	return verdictJSON{v.Allowed, v.Scope.String(), v.Until}
}

func (v verdictJSON) String() string {
	switch {
	case v.Allowed && v.Locked == "":
		return "allowed"
	case v.Allowed:
		return fmt.Sprintf("allowed from here; the %s is locked until %s", v.Locked, moment(v.Until))
	}
	return fmt.Sprintf("locked (%s) until %s", v.Locked, moment(v.Until))
}

// askedJSON is how near a user is to the directory's own lockout, as we know it.
type askedJSON struct {
	Strangers int       `json:"strangers"` // failures that they may cause
	GoodPair  int       `json:"good_pair"`
	Window    string    `json:"window"`
	Directory int       `json:"directory"` // failures that it counted
	Told      time.Time `json:"told"`
	Ours      int       `json:"ours"` // of which we know
	Now       int       `json:"now"`  // attempts under way
}

// theirs is what the directory itself says, just now.
type theirs struct {
	Threshold int       `json:"threshold"`
	Window    string    `json:"window"`
	Failures  int       `json:"failures"`
	Last      time.Time `json:"last,omitzero"`
	State     string    `json:"state"` // of the account
}

var errNotLocking = errors.New("the user's directory does not lock accounts by itself")

func askTheirs(dir *service.Directory, n directory.Name) (*theirs, error) {
	_, l := dir.Locker(n)
	if l == nil {
		return nil, errNotLocking
	}
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	a, err := dir.Find(ctx, n)
	if err != nil {
		return nil, err
	}
	seen := *a
	seen.State = directory.Active // the numbers of a locked account, too
	t, err := l.Lockout(ctx, n, &seen)
	if err != nil {
		return nil, err
	}
	v := &theirs{Threshold: t.Threshold, Window: t.Window.String(), Failures: t.Failures, State: a.State.String()}
	if t.Failures > 0 {
		v.Last = time.Now().Add(-t.Ago).UTC().Truncate(time.Second)
	}
	return v, nil
}

// askPatience is how long a directory is waited for.
const askPatience = 10 * time.Second

func (t *theirs) String() string {
	switch {
	case t.Threshold == 0:
		return "account " + t.State + "; accounts are not locked"
	case t.Failures == 0:
		return fmt.Sprintf("account %s; no failures of %d in %s", t.State, t.Threshold, t.Window)
	}
	return fmt.Sprintf("account %s; %d failures of %d in %s, the last %s", t.State, t.Failures, t.Threshold, t.Window, moment(t.Last))
}

func (a *askedJSON) String() string {
	return fmt.Sprintf("asked about until %d failures (%d at a good pair) in %s; it counted %d (%s), ours are %d; %d under way",
		a.Strangers, a.GoodPair, a.Window, a.Directory, moment(a.Told), a.Ours, a.Now)
}

func (c *cli) showStatus(who subject, s lockout.Status, t *theirs) error {
	k := s.Counters
	counters := []counterJSON{}
	for _, x := range []struct {
		what  string
		about bool
		lockout.Counter
	}{
		{"user", who.user != "", k.User},
		{"pair", who.user != "" && who.source.IsValid(), k.Pair},
		{"source", who.source.IsValid(), k.Source},
		{"users of source", who.source.IsValid(), k.Sprayed},
		{"prefix", who.prefix.IsValid() || who.user != "" && who.source.IsValid(), k.Prefix},
		{"users of prefix", who.prefix.IsValid() || who.user != "" && who.source.IsValid(), k.PrefixSprayed},
		{"codes", who.user != "", k.Codes},
	} {
		if x.about {
			counters = append(counters, counterJSON{x.what, x.Failures, x.Newest, x.Strikes, x.Struck})
		}
	}
	v := struct {
		User      string        `json:"user,omitempty"`
		Source    netip.Addr    `json:"source,omitzero"`
		Prefix    netip.Prefix  `json:"prefix,omitzero"`
		Login     verdictJSON   `json:"login"`
		Code      *verdictJSON  `json:"code,omitempty"`
		Good      bool          `json:"good"` // logged in from there recently
		Counters  []counterJSON `json:"counters"`
		Asked     *askedJSON    `json:"asked,omitempty"`
		Directory *theirs       `json:"directory,omitempty"`
	}{who.user, who.source, who.prefix, verdict(s.Login), nil, k.Good, counters, nil, t}
	if who.user != "" {
		code := verdict(s.Code)
		v.Code = &code
		if a := s.Asked; !a.Told.IsZero() {
			v.Asked = &askedJSON{a.Limit, a.Trusted, a.Window.String(), a.Theirs, a.Told, a.Ours, a.Now}
		}
	}
	return c.show(v, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "login\t%s\n", v.Login)
		if v.Code != nil {
			fmt.Fprintf(w, "codes\t%s\n", v.Code)
		}
		if v.Asked != nil {
			fmt.Fprintf(w, "directory\t%s\n", v.Asked)
		}
		if t != nil {
			fmt.Fprintf(w, "directory says\t%s\n", t)
		}
		fmt.Fprint(w, "\nWHAT\tFAILURES\tLAST\tSTRIKES\tLAST STRIKE\n")
		for _, x := range counters {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", x.What, x.Failures, moment(x.Last), x.Strikes, moment(x.Struck))
		}
	})
}
