package activation

import (
	"errors"
	"fmt"
	"time"

	"postern/policy"
)

// Why says what is wrong with a policy that was refused. The zero value is not known.
//
// Handled in: whyNames; a metric is labelled by it.
type Why uint8

const (
	WhyUnknown Why = iota
	WhySource      // it cannot be read, or is not what was activated
	WhySignature
	WhyMistakes // it does not load, or a test fails
	WhyHere     // it cannot be put in force on this host
)

var whyNames = [...]string{WhyUnknown: "unknown", WhySource: "source", WhySignature: "signature", WhyMistakes: "mistakes", WhyHere: "here"}

// String returns the word that metrics use.
func (w Why) String() string {
	if int(w) < len(whyNames) {
		return whyNames[w]
	}
	return whyNames[WhyUnknown]
}

// Whys lists every value, for whoever registers a metric by them.
func Whys() []Why {
	all := make([]Why, len(whyNames))
	for i := range all {
		all[i] = Why(i)
	}
	return all
}

// Refusal is what is wrong with a policy itself, so that it helps nobody to try again.
type Refusal struct {
	Why Why
	Err error
}

func (r *Refusal) Error() string { return r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }

// Gate is what a bundle must pass before it is in force anywhere.
type Gate struct {
	Signers *Signers // nil: no signature is asked for
	// Here says whether a policy can be in force on this host; nil: it can.
	Here func(*policy.Policy) error
	// Strict refuses what the linter calls an error. It is for whoever activates, and not
	// for services: those of another version may find more, and a policy that is in force
	// must not be lost to an upgrade.
	Strict bool
}

// Open looks at a bundle and makes the policy of it. signer is who signed it, where
// somebody must have by at. Of type *Refusal are the errors of the bundle.
func (g *Gate) Open(b *Bundle, at time.Time) (p *policy.Policy, signer string, err error) {
	if err := b.check(); err != nil {
		return nil, "", &Refusal{WhySource, err}
	}
	if g.Signers != nil {
		if signer, err = g.Signers.Verify(b.Manifest(), b.Signature, at); err != nil {
			return nil, "", &Refusal{WhySignature, fmt.Errorf("signature of policy: %w", err)}
		}
	}
	p, err = policy.LoadFiles(b.placed(), policy.Tested())
	if err != nil {
		return nil, signer, &Refusal{WhyMistakes, err}
	}
	if g.Strict {
		if err := lint(p, at); err != nil {
			return nil, signer, &Refusal{WhyMistakes, err}
		}
	}
	if g.Here != nil {
		if err := g.Here(p); err != nil {
			return nil, signer, &Refusal{WhyHere, fmt.Errorf("policy %s: %w", b.placed()[0].Name, err)}
		}
	}
	return p, signer, nil
}

// lint is what the linter calls an error.
func lint(p *policy.Policy, at time.Time) error {
	var errs []error
	for _, f := range p.Lint(policy.LintConfig{Now: at}) {
		if f.Severity == policy.SeverityError {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errors.Join(errs...)
}

// open is Open for what was found.
func (g *Gate) open(f Found, at time.Time) (*policy.Policy, string, error) {
	if f.Err != nil {
		return nil, "", &Refusal{WhySource, f.Err}
	}
	return g.Open(&f.Bundle, at)
}

// why is what a refusal says.
func why(err error) Why {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Why
	}
	return WhyUnknown
}
