// Package collect finds out how a computer is protected: what it runs, when it was last
// patched and started, and whether its disks are encrypted, its firewall and antivirus
// are on and its screen locks.
//
// What it cannot find out it does not guess: each fact is left out of the report where
// its tool is missing, fails, is not permitted or says something that is not understood,
// and `postern-agent show` tells why. Everything that the machine is asked goes through
// a [Machine], so that what other machines say can be tested on any.
package collect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/report"
)

// limit is how long one fact may take. PowerShell needs a few seconds for its start.
const limit = 20 * time.Second

// Finding is what became of one fact.
type Finding struct {
	Name  string `json:"fact"`
	Value string `json:"value"`         // "unknown" where it is
	Why   string `json:"why,omitempty"` // it is unknown
}

// fact is one thing to find out.
type fact struct {
	name  string
	show  func(*report.Facts) string
	linux finder
	win   finder
}

// finder finds out a fact, or says why it cannot. What it returns writes it down.
type finder func(ctx context.Context, m *Machine) (func(*report.Facts), error)

// facts are all that a report has.
var facts = []fact{
	{"os", showOS, linuxOS, windowsOS},
	{"patched", func(f *report.Facts) string { return showTime(f.Patched) }, linuxPatched, windowsPatched},
	{"disk_encrypted", func(f *report.Facts) string { return f.Encrypted.String() }, linuxEncrypted, windowsEncrypted},
	{"firewall", func(f *report.Facts) string { return f.Firewall.String() }, linuxFirewall, windowsFirewall},
	{"antivirus", func(f *report.Facts) string { return f.Antivirus.String() }, linuxAntivirus, windowsAntivirus},
	{"screen_lock", func(f *report.Facts) string { return f.Lock.String() }, linuxLock, windowsLock},
	{"booted", func(f *report.Facts) string { return showTime(f.Booted) }, booted, booted},
}

// Collect finds out all facts, side by side.
func Collect(ctx context.Context, m *Machine) (report.Facts, []Finding) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		write func(*report.Facts)
		err   error
	}
	results := make([]chan result, len(facts))
	for i, f := range facts {
		find := f.linux
		if m.OS == "windows" {
			find = f.win
		}
		ch := make(chan result, 1) // a finder that hangs in the kernel ends there, heard or not
		results[i] = ch
		go func() { // the loop below waits, or gives up
			write, err := find(ctx, m)
			ch <- result{write, err}
		}()
	}
	var all report.Facts
	findings := make([]Finding, len(facts))
	for i, f := range facts {
		var r result
		select {
		case r = <-results[i]:
		case <-ctx.Done():
			select {
			case r = <-results[i]: // the others did not
			default:
				r.err = errors.New("it took too long")
			}
		}
		if r.write != nil { // perhaps in part
			r.write(&all)
		}
		for _, at := range []*time.Time{&all.Patched, &all.Booted} {
			if !at.IsZero() && !believable(*at, m.Now()) {
				*at, r.err = time.Time{}, errors.New("its time cannot be")
			}
		}
		findings[i] = Finding{Name: f.name, Value: f.show(&all)}
		if r.err != nil {
			findings[i].Why = r.err.Error()
		}
	}
	return all, findings
}

// believable says whether something can have happened then, as this clock has it.
func believable(at, now time.Time) bool { return at.Year() >= 1970 && at.Before(now.Add(24*time.Hour)) }

func showOS(f *report.Facts) string {
	switch {
	case f.OS == "":
		return report.Unknown.String()
	case f.OSVersion == "":
		return f.OS
	}
	return f.OS + " " + f.OSVersion
}

func showTime(t time.Time) string {
	if t.IsZero() {
		return report.Unknown.String()
	}
	return t.Format(time.RFC3339)
}

// The fields of a report that finders write.
func setEncrypted(a report.Answer) func(*report.Facts) {
	return func(f *report.Facts) { f.Encrypted = a }
}
func setFirewall(a report.Answer) func(*report.Facts) {
	return func(f *report.Facts) { f.Firewall = a }
}
func setAntivirus(a report.Answer) func(*report.Facts) {
	return func(f *report.Facts) { f.Antivirus = a }
}
func setLock(a report.Answer) func(*report.Facts) { return func(f *report.Facts) { f.Lock = a } }

func setPatched(t time.Time) func(*report.Facts) {
	return func(f *report.Facts) { f.Patched = second(t) }
}

// setOS leaves out a version that no rule could compare.
func setOS(name, version string) (func(*report.Facts), error) {
	if !report.IsVersion(version) {
		return func(f *report.Facts) { f.OS = name }, fmt.Errorf("version %q is not dotted numbers", version)
	}
	return func(f *report.Facts) { f.OS, f.OSVersion = name, version }, nil
}

// second is t as reports have it.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// booted is when the machine was started.
func booted(_ context.Context, m *Machine) (func(*report.Facts), error) {
	up, err := m.Uptime()
	if err != nil {
		return nil, err
	}
	at := second(m.Now().Add(-up))
	return func(f *report.Facts) { f.Booted = at }, nil
}
