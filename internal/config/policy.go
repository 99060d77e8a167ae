package config

import "time"

// PolicySource is where a service's policy comes from.
type PolicySource struct {
	// From is "file": policy_file, read at start and at a reload; or "store": what was
	// activated last (postern policy activate), the same for all services. There
	// policy_file is what is in force until something has been activated.
	From PolicyFrom `yaml:"from" default:"file"`
	// Signers are public keys of those who may sign policies, in OpenSSH's
	// allowed_signers form or minisign's; with any, what is not signed is refused.
	Signers File `yaml:"signers_file"`
	// Watch is how often policy_file is looked at for changes: a directory that
	// something else keeps up to date, or a git checkout. 0: never.
	Watch time.Duration `yaml:"watch" default:"0s" min:"0s" max:"24h"`
	// Shadow is a candidate that is asked beside the policy in force, and decides
	// nothing.
	Shadow File `yaml:"shadow_file"`
}

func (p *PolicySource) check(at place) {
	if p.Watch > 0 && p.Watch < time.Second && !at.broken("watch") {
		at.bad("watch", "1s or more, or 0s for never", "%v is too often", p.Watch)
	}
	if p.From == PolicyFromStore && p.Shadow != "" {
		at.bad("shadow_file", "from: file; candidates for the store come by postern policy activate --shadow", "the store has a candidate of its own")
	}
}

// Geo are databases in MaxMind's format that say where a source is.
type Geo struct {
	Country File `yaml:"country_file"`
	ASN     File `yaml:"asn_file"`
}

// Inputs are the facts of decisions, kept so that they can be explained, and made again
// under another policy.
type Inputs struct {
	Dir File `yaml:"dir"` // absent: none are kept
	// Keep is for how long.
	Keep time.Duration `yaml:"keep" default:"720h" min:"1h" max:"17520h"`
	// Pseudonyms keeps keyed digests in the place of names of people and devices.
	Pseudonyms bool `yaml:"pseudonyms" default:"false"`
}

func (i *Inputs) check(at place) {
	for _, key := range []string{"keep", "pseudonyms"} {
		if i.Dir == "" && at.given(key) && !at.broken("dir") {
			at.bad(key, "dir: DIRECTORY beside it", "without dir no inputs are kept")
		}
	}
}
