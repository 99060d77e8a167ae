package ad

import (
	"context"
	"fmt"
	"strings"

	"postern/internal/failover"
)

// Severity is how bad a finding is.
//
// Handled in: severityNames; cmd/postern's exit status.
type Severity uint8

const (
	SeverityUnknown Severity = iota
	OK
	Warn // somebody cannot log on, or something will go wrong one day
	Bad  // nobody can log on, or users get locked out
)

var severityNames = [...]string{SeverityUnknown: "unknown", OK: "ok", Warn: "warn", Bad: "bad"}

// String returns the severity in a word.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return severityNames[SeverityUnknown]
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is what one check found.
type Finding struct {
	Check    string   `json:"check"`
	Subject  string   `json:"subject"` // a server, an account, a policy
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Remedy   string   `json:"remedy,omitempty"`
}

// DoctorConfig is what Doctor looks at.
type DoctorConfig struct {
	Config
	// Group is one whose members are looked at, by name, SID or DN; "": none.
	Group string
	// Failures are our own lockout's for a user; 0: it counts nothing.
	Failures int
}

// doctor goes from check to check. What one finds out it leaves for those behind.
type doctor struct {
	cfg      DoctorConfig
	dir      *Directory
	findings []Finding

	hosts []string
	dcs   []*dc           // those that answer over LDAP
	read  map[string]bool // DNs of PSOs
}

// Doctor looks for what is wrong between us and the domain. The probe account alone
// is ever tried to log on with.
func Doctor(ctx context.Context, cfg DoctorConfig) ([]Finding, error) {
	dir, err := New(cfg.Config)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	d := &doctor{cfg: cfg, dir: dir}
	for _, check := range []func(context.Context){
		d.findServers,
		d.askServers, // each: TLS, clock, bind
		d.setUpChannels,
		d.tryMSCHAPv2,
		d.lookAtMachine,
		d.lookAtPolicy,
		d.lookAtMembers,
	} {
		check(ctx)
		if err := ctx.Err(); err != nil {
			return d.findings, fmt.Errorf("look for what is wrong: %w", err)
		}
	}
	return d.findings, nil
}

func (d *doctor) found(check, subject string, s Severity, remedy, format string, args ...any) {
	d.findings = append(d.findings, Finding{Check: check, Subject: subject, Severity: s, What: fmt.Sprintf(format, args...), Remedy: remedy})
}

// findServers takes the configured ones, and compares them with the DNS's.
func (d *doctor) findServers(ctx context.Context) {
	const check = "servers"
	ctx, cancel := context.WithTimeout(ctx, d.dir.cfg.Timeout)
	defer cancel()
	named, err := failover.SRV(d.cfg.Domain, srvService)(ctx)
	d.hosts = d.cfg.Servers
	switch {
	case len(d.hosts) == 0 && err != nil:
		d.found(check, d.cfg.Domain, Bad, "let this host ask the domain's DNS, or list the domain controllers under servers",
			"the DNS names no domain controllers: %v", err)
		return
	case len(d.hosts) == 0:
		d.hosts = named
		d.found(check, d.cfg.Domain, OK, "", "the DNS names %s", strings.Join(named, ", "))
	default:
		d.found(check, d.cfg.Domain, OK, "", "configured are %s", strings.Join(d.hosts, ", "))
	}
	if len(d.hosts) == 1 {
		d.found(check, d.cfg.Domain, Warn, "list a second domain controller", "there is one only: nobody can log on while it restarts")
	}
}
