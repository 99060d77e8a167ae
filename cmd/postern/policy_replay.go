package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"postern/authz/inputs"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/policy"
)

// exitStatus ends the process with a status of its own; what there is to say was said.
type exitStatus int

// Error implements error.
func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// somethingChanges is the status of a replay that finds logins with another outcome.
const somethingChanges exitStatus = 3

// replayFlags are the flags of `policy replay`.
type replayFlags struct {
	since, until string
	from         []string
	against      string
	newOnly, all bool
	examples     int
}

func policyReplay(c *cli) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay CANDIDATE",
		Short: "Decide the logins of the last days again under another policy",
		Long: "Decide again, under a candidate, what services decided and kept (inputs.dir), and list each login that would come to\n" +
			"something else: another verdict, or other obligations. That another rule decides in the same way is counted only.\n" +
			"Compared with is what was decided then, or with --against another policy: a file, or a version.\n\n" +
			"The exit status is 0 when nothing changes, 3 when something does, 1 after an error.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.replay(cmd.Context(), &f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.since, "since", "14d", "how far to look back: a `TIME`, or how long ago (14d, 36h)")
	fl.StringVar(&f.until, "until", "", "until when: a `TIME`, or how long ago; absent: now")
	fl.StringArrayVar(&f.from, "from", nil, "`DIRECTORY` of inputs, of each service one; absent: that of the configuration")
	fl.StringVar(&f.against, "against", "", "compare with a policy, a `FILE` or a version, in the place of what was decided")
	fl.BoolVar(&f.newOnly, "new-only", false, "only who was permitted and would be refused")
	fl.BoolVar(&f.all, "all", false, "step-ups and reviews, too, and not logins alone")
	fl.IntVar(&f.examples, "examples", 3, "how many logins to show of each kind of change; -o json has all")
	_ = cmd.MarkFlagDirname("from")
	return cmd
}

func (c *cli) replay(ctx context.Context, f *replayFlags, name string) error {
	now := time.Now()
	since, err := ago(f.since, now)
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	until, err := ago(f.until, now)
	if err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	_, candidate, err := c.loadPolicy([]string{name})
	if err != nil {
		return err
	}
	o := inputs.Options{NewOnly: f.newOnly, All: f.all, Progress: c.bar(now)}
	dirs := f.from
	// Everything can be given by flags; then there need be no configuration here.
	cfg, err := c.load()
	switch {
	case err == nil:
		if o.Ring, err = service.OpenRing(cfg, false); err != nil {
			c.hint("Without the key ring, records with pseudonyms cannot be decided again: %v", err)
		}
		if len(dirs) == 0 && cfg.Inputs.Dir != "" {
			dirs = []string{string(cfg.Inputs.Dir)}
		}
	case len(dirs) == 0:
		return err
	}
	if len(dirs) == 0 {
		return errors.New("no inputs are kept here: the configuration has no inputs.dir; or give --from DIRECTORY")
	}
	if f.against != "" {
		if o.Against, err = c.policyNamed(ctx, cfg, f.against); err != nil {
			return fmt.Errorf("--against %s: %w", f.against, err)
		}
	}
	r, err := inputs.Open(since, until, dirs...)
	if err != nil {
		return err
	}
	defer r.Close()
	rep, err := inputs.Replay(r, candidate, o)
	c.noBar()
	if err != nil {
		return err
	}
	if err := c.show(rep, func(w *tabwriter.Writer) { printReplay(w, rep, name, f.examples) }); err != nil {
		return err
	}
	switch {
	case rep.Changed > 0:
		return somethingChanges
	case rep.Decided == 0:
		c.hint("There is nothing to decide again: no decision since %s is kept in %s.", moment(since), strings.Join(dirs, ", "))
	}
	return nil
}

// ago reads a moment, or how long before now one was; "": none.
func ago(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	var days int
	rest := s
	if n, behind, ok := strings.Cut(s, "d"); ok {
		var err error
		if days, err = strconv.Atoi(n); err != nil || days < 0 || days > 100_000 {
			return time.Time{}, fmt.Errorf("%q is no time: want 2026-11-23, 2026-11-23T15:04:05Z, 14d or 36h", s)
		}
		rest = behind
	}
	var d time.Duration
	if rest != "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil || d < 0 {
			return time.Time{}, fmt.Errorf("%q is no time: want 2026-11-23, 2026-11-23T15:04:05Z, 14d or 36h", s)
		}
	}
	return now.AddDate(0, 0, -days).Add(-d), nil
}

// policyNamed reads a policy from a file, or finds it by its version.
func (c *cli) policyNamed(ctx context.Context, cfg *config.Service, name string) (*policy.Policy, error) {
	if _, err := os.Stat(name); err == nil || cfg == nil {
		_, p, err := c.loadPolicy([]string{name})
		return p, err
	}
	p, _, err := c.policyOfVersion(ctx, cfg, name)
	return p, err
}

// barWidth is the bar's, in characters.
const barWidth = 30

// bar draws how far a replay is, for people at a terminal.
func (c *cli) bar(began time.Time) func(done, total int64) {
	f, ok := c.errs.(*os.File)
	if !ok || c.quiet || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	drawn := time.Time{}
	return func(done, total int64) {
		now := time.Now()
		if now.Sub(drawn) < 100*time.Millisecond {
			return
		}
		drawn = now
		drawBar(f, done, total, now.Sub(began))
	}
}

func drawBar(w io.Writer, done, total int64, took time.Duration) {
	if total <= 0 {
		return
	}
	share := min(float64(done)/float64(total), 1)
	full := int(share * barWidth)
	left := ""
	if share > 0.02 && took > time.Second {
		left = ", " + time.Duration(float64(took)*(1-share)/share).Round(time.Second).String() + " left"
	}
	fmt.Fprintf(w, "\r\x1b[K[%s%s] %3.0f %%%s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), share*100, left)
}

// noBar takes the bar away.
func (c *cli) noBar() {
	if f, ok := c.errs.(*os.File); ok && !c.quiet && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(f, "\r\x1b[K")
	}
}

// printReplay is a replay's report for people.
func printReplay(w io.Writer, rep *inputs.Report, candidate string, examples int) {
	what := "what was decided then"
	if rep.Against != "" {
		what = "policy version " + rep.Against
	}
	fmt.Fprintf(w, "%s, version %s, decides again %s", candidate, rep.Candidate, many(rep.Decided, "login"))
	if !rep.From.IsZero() {
		fmt.Fprintf(w, " of %s to %s", moment(rep.From), moment(rep.To))
	}
	fmt.Fprintf(w, ", compared with %s.\n", what)
	if rep.Changed == 0 {
		fmt.Fprint(w, "\nNothing changes.\n")
	}
	for _, d := range rep.Differences {
		fmt.Fprintf(w, "\n%s of %s: %s\n", many(len(d.Logins), "login"), many(d.Users, "user"), told(&d.Was, &d.Now))
		for _, t := range d.Details {
			fmt.Fprintf(w, "    %s: %s -> %s\n", t.Key, orNotSet(t.Old), orNotSet(t.New))
		}
		fmt.Fprintf(w, "    groups: %s\n", groupCounts(d.Groups))
		for i, l := range d.Logins {
			if i == examples {
				fmt.Fprintf(w, "    … and %s more\n", grouped(len(d.Logins)-i))
				break
			}
			fmt.Fprintf(w, "    %s  %s  from %s  %s\n", moment(l.At), visible(l.User), orDash(l.Source), l.Decision)
		}
	}
	fmt.Fprintln(w)
	for _, row := range []struct {
		n    int
		text string
	}{
		{rep.OtherRule, "decided by another rule, with the same outcome"},
		{rep.NotAsked, "refused before any policy was asked"},
		{rep.Unknown, "of which the obligations of then are lost: only verdicts were compared"},
	} {
		if row.n > 0 {
			fmt.Fprintf(w, "%s %s.\n", many(row.n, "login"), row.text)
		}
	}
	if rep.Damaged > 0 {
		fmt.Fprintf(w, "In %s of the files there is no record to be read.\n", many(rep.Damaged, "place"))
	}
	for _, u := range rep.Unmatched {
		fmt.Fprintf(w, "Records have pseudonyms, which this condition cannot be compared with: %s\n", u)
	}
}

// told says what a change is.
func told(was, now *inputs.Outcome) string {
	side := func(o *inputs.Outcome) string {
		switch {
		case o.Rule == "":
			return "no rule matches"
		case o.Verdict == policy.Permit.String():
			return "permitted by " + o.Rule
		}
		return "refused by " + o.Rule
	}
	return side(was) + " -> " + side(now)
}

// shownGroups is how many groups a line tells of.
const shownGroups = 6

func groupCounts(all []inputs.GroupCount) string {
	var parts []string
	for i, g := range all {
		if i == shownGroups {
			parts = append(parts, fmt.Sprintf("%d more groups", len(all)-i))
			break
		}
		name := visible(g.Group)
		if g.Group == "" {
			name = "no group"
		}
		parts = append(parts, name+" "+grouped(g.Logins))
	}
	return strings.Join(parts, ", ")
}

func orNotSet(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// many is a number with its noun.
func many(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// grouped writes a number as people read large ones.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
