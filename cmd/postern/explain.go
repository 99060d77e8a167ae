package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/inputs"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/policy"
)

// explained is a decision as programs see it.
type explained struct {
	Decision string    `json:"decision"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Verdict  string    `json:"verdict"` // of the login as a whole, as the audit line has it
	Reason   string    `json:"reason"`
	Factor   string    `json:"factor,omitempty"`
	Realm    string    `json:"realm,omitempty"` // of the account
	SID      string    `json:"sid,omitempty"`
	Sentence string    `json:"sentence"`

	// Asked: the policy was asked; what follows is of that.
	Asked      bool               `json:"asked"`
	Policy     string             `json:"policy,omitempty"`      // version
	PolicyFrom string             `json:"policy_from,omitempty"` // where it is; "": it is not at hand
	Rule       string             `json:"rule,omitempty"`
	Terms      []policy.Term      `json:"obligations,omitempty"`
	Facts      []policy.FactLine  `json:"facts"`
	Rules      []policy.RuleTrace `json:"rules,omitempty"`
	Message    string             `json:"message,omitempty"`
	Pseudonyms bool               `json:"pseudonyms,omitempty"` // names are

	details string
}

func explainCommand(c *cli) *cobra.Command {
	var from []string
	var all bool
	cmd := &cobra.Command{
		Use:   "explain DECISION",
		Short: "Say how a decision came about",
		Long: "Explain a decision by its ID, that the audit log has: what was known of the login and who said so, what became of each\n" +
			"rule, and what it obliged to. It needs the inputs of decisions to be kept (inputs.dir), and the policy of then: the\n" +
			"running one, or one that was activated. Step-ups and reviews of a session go by the ID of its login.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.explain(cmd.Context(), strings.ToUpper(args[0]), from, all)
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "`DIRECTORY` of inputs, of each service one; absent: that of the configuration")
	cmd.Flags().BoolVar(&all, "all", false, "explain step-ups and reviews of the session as fully as the login")
	_ = cmd.MarkFlagDirname("from")
	return cmd
}

func (c *cli) explain(ctx context.Context, id string, from []string, all bool) error {
	at, ok := authz.DecisionTime(id)
	if !ok {
		return fmt.Errorf("%q is no ID of a decision: want 24 letters and digits, as `decision` in the audit log", id)
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if len(from) == 0 && cfg.Inputs.Dir != "" {
		from = []string{string(cfg.Inputs.Dir)}
	}
	if len(from) == 0 {
		return errors.New("no inputs are kept here: the configuration has no inputs.dir; or give --from DIRECTORY")
	}
	records, err := inputs.Find(id, at, from...)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return fmt.Errorf("no inputs of this decision are kept in %s; it was made at %s. Another service may have made it (--from),\n"+
			"or it is older than inputs.keep", strings.Join(from, ", "), moment(at))
	}
	list := make([]explained, len(records))
	for i := range records {
		if list[i], err = c.explainRecord(ctx, cfg, &records[i]); err != nil {
			return err
		}
	}
	if c.output == "json" {
		return c.show(list, nil)
	}
	return c.show(nil, func(w *tabwriter.Writer) {
		list[0].print(w)
		if len(list) > 1 && !all {
			fmt.Fprint(w, "\nLater of this session\n")
		}
		for i := range list[1:] {
			x := &list[1+i]
			if all {
				fmt.Fprint(w, "\n", strings.Repeat("-", 72), "\n\n")
				x.print(w)
				continue
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", moment(x.At), x.Kind, x.Reason, x.Sentence)
		}
	})
}

// explainRecord explains one record.
func (c *cli) explainRecord(ctx context.Context, cfg *config.Service, r *inputs.Record) (explained, error) {
	x := explained{
		Decision: r.Decision, At: r.At, Kind: r.Kind.String(), Verdict: r.Verdict, Reason: r.Reason, Factor: r.Factor,
		Realm: r.Provenance.Realm, SID: r.Provenance.SID, Asked: r.Asked, Policy: r.Policy, Rule: r.Rule, Terms: r.Terms, Pseudonyms: r.Key != "",
		Facts: policy.Known(r.At, &r.Facts),
	}
	who := r.Facts.User
	if who == "" {
		who = "Nobody whose name could be read"
	}
	if !r.Asked {
		x.Sentence = fmt.Sprintf("%s: %s, before any policy was asked: %s.", who, ended(r.Verdict), r.Reason)
		return x, nil
	}
	p, where, err := c.policyOfVersion(ctx, cfg, r.Policy)
	if errors.Is(err, errNotAtHand) {
		rule := "no rule"
		if r.Rule != "" {
			rule = "rule " + r.Rule
		}
		x.Sentence = fmt.Sprintf("%s: %s by %s of policy version %s, which is not at hand any more; what is kept follows.", who, decided(r.Outcome), rule, r.Policy)
		return x, nil
	}
	if err != nil {
		return x, err
	}
	if r.Key != "" {
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			return x, err
		}
		names, err := inputs.NewPseudonyms(ring, r.Key)
		if err != nil {
			return x, fmt.Errorf("names are pseudonyms under key %s: %w", r.Key, err)
		}
		p, _ = p.Renamed(names.Name)
	}
	why := p.Explain(r.At, &r.Facts)
	x.PolicyFrom, x.Sentence, x.Facts, x.Rules, x.Message, x.details = where, why.Sentence, why.Facts, why.Rules, why.Message, why.Details()
	switch {
	case why.Decision.Verdict != r.Outcome || why.Rule != r.Rule: // never, as long as a version is one text and evaluation pure
		x.Sentence += fmt.Sprintf(" But then it was %s by %q: this program decides otherwise than the one that did.", decided(r.Outcome), r.Rule)
	case r.Outcome == policy.Permit && r.Verdict != authz.Accept.String():
		x.Sentence += fmt.Sprintf(" All the same it was %s: %s.", ended(r.Verdict), r.Reason)
	case r.Outcome == policy.Permit && r.Factor != "" && r.Reason == authz.Permitted.String():
		x.Sentence = strings.TrimSuffix(x.Sentence, ".") + ", and was given: " + r.Factor + "."
	}
	for i := range x.Facts {
		if f := &x.Facts[i]; f.Key == "user" || f.Key == "group" {
			if x.Realm != "" {
				f.From += " " + x.Realm
			}
		} else if f.From != "" && (f.Key == "country" || f.Key == "asn") && r.Provenance.Geo != "" {
			f.From = "database: " + r.Provenance.Geo
		}
	}
	return x, nil
}

// ended says how a login ended, by its verdict's name.
func ended(verdict string) string {
	switch verdict {
	case authz.Accept.String():
		return "accepted"
	case authz.Challenge.String():
		return "asked for a code"
	case authz.Silent.String():
		return "left without an answer"
	}
	return "refused"
}

func decided(v policy.Verdict) string {
	if v == policy.Permit {
		return "permitted"
	}
	return "refused"
}

// print is the explanation for people.
func (x *explained) print(w *tabwriter.Writer) {
	fmt.Fprintf(w, "%s\n\n", x.Sentence)
	for _, row := range [][2]string{
		{"Decision", x.Decision}, {"Made at", moment(x.At)}, {"Of a", x.Kind}, {"Outcome", x.Verdict + ", " + x.Reason}, {"Factor", x.Factor},
		{"Account", strings.TrimSpace(x.Realm + " " + x.SID)}, {"Policy", x.policyLine()}, {"Names", x.namesLine()},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	}
	_ = w.Flush() // columns end here
	if x.details != "" {
		fmt.Fprint(w, "\n", x.details)
		return
	}
	fmt.Fprint(w, "\nWhat was known\n")
	for _, f := range x.Facts {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", f.Key, f.Value, f.From)
	}
	_ = w.Flush()
	if len(x.Terms) > 0 {
		fmt.Fprint(w, "\nWhat it obliges to\n")
		for _, t := range x.Terms {
			fmt.Fprintf(w, "  %s\t%s\n", t.Key, t.Value)
		}
	}
}

func (x *explained) policyLine() string {
	switch {
	case !x.Asked:
		return ""
	case x.PolicyFrom == "":
		return "version " + x.Policy + ", not at hand"
	}
	return "version " + x.Policy + ", " + x.PolicyFrom
}

func (x *explained) namesLine() string {
	if x.Pseudonyms {
		return "are pseudonyms"
	}
	return ""
}

// errNotAtHand: nobody here has the policy of a version any more.
var errNotAtHand = errors.New("this version is not at hand")

// policyOfVersion finds a policy by its version, and says where: policy_file, or what was
// activated. A store that the running service keeps to itself is not asked.
func (c *cli) policyOfVersion(ctx context.Context, cfg *config.Service, version string) (*policy.Policy, string, error) {
	name := string(cfg.Policy)
	if files, err := policy.Collect(name, os.ReadFile); err == nil {
		if p, err := policy.LoadFiles(files); err == nil && p.Version() == version {
			return p, name, nil
		}
	}
	p, err := c.activated(ctx, cfg, version)
	if err != nil {
		return nil, "", err
	}
	return p, "as it was activated", nil
}
