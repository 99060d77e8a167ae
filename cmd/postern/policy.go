package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"postern/policy"
)

func policyCommand(c *cli) *cobra.Command {
	return group("policy", "Policies", policyCheck(c), policyFormat(c), policySchema(c), policyTest(c), policyReplay(c), policyExplain(c),
		policyDiff(c), policyManifest(c), policySign(c), policyActivate(c), policyRollback(c), policyWithdraw(c), policyStatus(c), policyHistory(c), policyShow(c))
}

// policyFile is the argument, else what the service uses.
func (c *cli) policyFile(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	cfg, err := c.load()
	if err != nil {
		return "", err
	}
	return string(cfg.Policy), nil
}

// mistakeJSON is a mistake as programs see it.
type mistakeJSON struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Message  string `json:"message"`
	Expected string `json:"expected,omitempty"`
}

func mistake(e *policy.Error) mistakeJSON {
	return mistakeJSON{e.File, e.Line, e.Column, e.Message, e.Expected}
}

func (c *cli) loadPolicy(args []string) (name string, p *policy.Policy, err error) {
	if name, err = c.policyFile(args); err != nil {
		return "", nil, err
	}
	files, err := policy.Collect(name, os.ReadFile)
	if err != nil {
		return "", nil, fmt.Errorf("read policy: %w", err)
	}
	p, err = policy.LoadFiles(files)
	return name, p, err
}

func policyTest(c *cli) *cobra.Command {
	type row struct {
		Test    string       `json:"test"`
		OK      bool         `json:"ok"`
		Verdict string       `json:"verdict"`
		Rule    string       `json:"rule,omitempty"`
		Mistake *mistakeJSON `json:"mistake,omitempty"`
	}
	var f coverageFlags
	cmd := &cobra.Command{
		Use:   "test [FILE]",
		Short: "Run the tests of a policy",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, p, err := c.loadPolicy(args)
			if err != nil {
				return err
			}
			rows, wrong := []row{}, policy.Errors{}
			for _, r := range p.RunTests() {
				x := row{r.Name, r.Err == nil, r.Decision.Verdict.String(), r.Decision.RuleID, nil}
				if r.Err != nil {
					m := mistake(r.Err)
					x.Mistake, wrong = &m, append(wrong, r.Err)
				}
				rows = append(rows, x)
			}
			looked := f.coverage(p)
			shown := map[string]any{"file": name, "version": p.Version(), "ok": len(wrong) == 0, "tests": rows}
			if looked != nil {
				shown["coverage"] = coverageOf(looked)
			}
			err = c.show(shown, func(w *tabwriter.Writer) {
				for _, x := range rows {
					word := "ok"
					if !x.OK {
						word = "FAIL"
					}
					fmt.Fprintf(w, "%s\t%s\t%s %s\n", word, x.Test, x.Verdict, x.Rule)
				}
				if f.show {
					printCoverage(w, looked)
				}
			})
			switch {
			case err != nil:
				return err
			case len(wrong) > 0 && c.output == "json":
				return fmt.Errorf("%d of %d tests fail", len(wrong), len(rows))
			case len(wrong) > 0:
				return fmt.Errorf("%d of %d tests fail\n%w", len(wrong), len(rows), wrong)
			case len(rows) == 0:
				c.hint("%s has no tests.", name)
			}
			return f.enough(looked)
		},
	}
	f.register(cmd)
	return cmd
}
