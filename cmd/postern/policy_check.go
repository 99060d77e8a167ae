package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/internal/service"
	"postern/policy"
)

// askTimeout bounds the questions to directories, all together.
const askTimeout = time.Minute

func policyCheck(c *cli) *cobra.Command {
	var asks, strict, info bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read a policy and print every mistake, and what is hardly meant",
		Long:  checkHelp(),
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, p, err := c.loadPolicy(args)
			var wrong policy.Errors
			switch {
			case errors.As(err, &wrong) && c.output == "json":
				list := make([]mistakeJSON, len(wrong))
				for i, e := range wrong {
					list[i] = mistake(e)
				}
				if err := c.show(map[string]any{"file": name, "ok": false, "mistakes": list, "findings": []policy.Finding{}}, nil); err != nil {
					return err
				}
				return fmt.Errorf("%d mistakes", len(wrong))
			case err != nil:
				return err
			}
			findings, err := c.lint(p, asks)
			if err != nil {
				return err
			}
			return c.tell(name, p, findings, strict, info)
		},
	}
	cmd.Flags().BoolVar(&asks, "directory", false, "ask the service's directories whether the groups exist")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	cmd.Flags().BoolVar(&info, "info", false, "print what is for information only, too")
	return cmd
}

func checkHelp() string {
	help := `check reads a policy, with the files that it includes, and prints every mistake that
would keep it from being loaded. When there is none, it prints what is hardly meant:

`
	for _, c := range policy.Checks() {
		help += "  " + c.Name + "\n      " + c.Says + "\n"
	}
	return help + `
An error is what may let somebody in who is meant to stay out; the status is 1 then, and
with --strict for warnings, too. A rule for which something is meant says so, with
accept: [NAME], and is not told of it.`
}

// lint looks for what is hardly meant; asks is whether directories are asked.
func (c *cli) lint(p *policy.Policy, asks bool) ([]policy.Finding, error) {
	cfg := policy.LintConfig{Now: time.Now()}
	if !asks {
		return p.Lint(cfg), nil
	}
	svc, err := c.load()
	if err != nil {
		return nil, err
	}
	ring, err := service.OpenRing(svc, false)
	if err != nil {
		return nil, err
	}
	dir, err := service.OpenDirectory(svc, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	cfg.GroupExists = func(name string) (bool, error) { return dir.GroupExists(ctx, name) }
	return p.Lint(cfg), nil
}

// tell prints findings. It fails when they keep the policy from being put in force.
func (c *cli) tell(name string, p *policy.Policy, findings []policy.Finding, strict, info bool) error {
	var count [policy.SeverityInfo + 1]int
	for i := range findings {
		count[findings[i].Severity]++
	}
	stops := count[policy.SeverityError]
	if strict {
		stops += count[policy.SeverityWarning]
	}
	if findings == nil {
		findings = []policy.Finding{}
	}
	err := c.show(map[string]any{"file": name, "ok": stops == 0, "version": p.Version(), "mistakes": []mistakeJSON{}, "findings": findings}, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "%s is a policy, version %s\n", name, p.Version())
		for i := range findings {
			if f := &findings[i]; info || f.Severity != policy.SeverityInfo {
				fmt.Fprintln(w, f)
			}
		}
	})
	if n := count[policy.SeverityInfo]; err == nil && n > 0 && !info {
		c.hint("%d findings are for information only; --info prints them.", n)
	}
	if err == nil && stops > 0 {
		err = fmt.Errorf("%d findings", stops)
	}
	return err
}
