package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"postern/cmd/postern-agent/collect"
	"postern/internal/report"
)

// tries is how often a report is made anew that another of this computer overtook.
const tries = 3

// send makes a report and sends it; what became of it is noted for everybody.
func (a *agent) send(ctx context.Context) (*report.Reply, error) {
	id, err := a.identity()
	if err != nil {
		return nil, err
	}
	s, err := newService(id.Server, id.CA, id.Pin)
	if err != nil {
		return nil, err
	}
	facts, _ := collect.Collect(ctx, a.machine)
	reply, err := a.deliver(ctx, s, id, &facts)
	st := &status{Time: a.machine.Now().UTC(), Device: id.Device, OK: err == nil, Answer: report.Taken.Text()}
	if err != nil {
		st.Answer = err.Error()
	}
	return reply, errors.Join(err, a.saveStatus(st))
}

func (a *agent) deliver(ctx context.Context, s *service, id *identity, facts *report.Facts) (*report.Reply, error) {
	for i := 1; ; i++ {
		now := a.machine.Now()
		seq, err := a.nextSeq(now)
		if err != nil {
			return nil, err
		}
		r := &report.Report{V: report.Version, Device: id.Device, Time: now.UTC().Truncate(time.Second), Seq: seq, Facts: *facts}
		_, _ = rand.Read(r.Nonce[:]) // ends the program rather than fail
		e, err := report.Seal(r, id.key)
		if err != nil {
			return nil, err
		}
		reply, err := s.post(ctx, report.ReportPath, e.Append(nil))
		switch {
		case err != nil:
			return nil, err
		case reply.Refused == report.Taken:
			return reply, nil
		case !reply.Refused.Again() || i == tries:
			return nil, &refused{reply}
		}
	}
}

// report sends one report.
func (a *agent) report(ctx context.Context, args []string) error {
	f := a.flags("report")
	quiet := f.Bool("quiet", false, "print nothing when the report was taken")
	if err := parse(f, args); err != nil {
		return err
	}
	reply, err := a.send(ctx)
	if err != nil {
		return err
	}
	if !*quiet {
		fmt.Fprintf(a.out, "%s: %s (%s)\n", reply.Device, reply.Refused.Text(), reply.Time.Format(time.RFC3339))
	}
	return nil
}

// show prints what would be sent.
func (a *agent) show(ctx context.Context, args []string) error {
	f := a.flags("show")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args); err != nil {
		return err
	}
	facts, findings := collect.Collect(ctx, a.machine)
	if *asJSON {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"facts": facts, "findings": findings})
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, x := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", x.Name, x.Value, x.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !a.machine.Admin {
		fmt.Fprintln(a.errs, "as an administrator it could see more")
	}
	return nil
}

// status prints what became of the last report.
func (a *agent) status(_ context.Context, args []string) error {
	if err := parse(a.flags("status"), args); err != nil {
		return err
	}
	s, err := a.readStatus()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s  %s  %s\n", s.Time.Format(time.RFC3339), s.Device, s.Answer)
	if !s.OK {
		return exitStatus(1)
	}
	return nil
}
