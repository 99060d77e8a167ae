package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Posture is what is known of devices, and who may say so.
type Posture struct {
	// Fresh is how old an agent's report may be to say which device a login comes from.
	Fresh time.Duration `yaml:"fresh" default:"15m" min:"1m" max:"24h"`
	// SelfEnrol lets users make tickets for computers of their own in the portal; else it
	// takes an operator.
	SelfEnrol bool `yaml:"self_enrol" default:"false"`
	// Tokens let inventories send what they know to the portal.
	Tokens []PostureToken `yaml:"tokens"`
	// AD is what a domain says of its computers.
	AD PostureAD `yaml:"ad"`
}

// PostureAD is a domain whose computer objects are read.
type PostureAD struct {
	// Realm is the domain's; absent: none are read.
	Realm Name `yaml:"realm"`
	// Interval is how often all are read.
	Interval time.Duration `yaml:"interval" default:"15m" min:"1m" max:"24h"`
}

// checkComputers wants a realm that has computers.
func (s *Service) checkComputers(at place) {
	name := s.Posture.AD.Realm
	if name == "" || at.broken("realms") {
		return
	}
	for i := range s.Realms {
		if s.Realms[i].Name == name && s.Realms[i].Kind == RealmAD {
			return
		}
	}
	at.bad("posture.ad.realm", "the name of a realm of kind ad", "no Active Directory %q among the realms", string(name))
}

// PostureToken is what one inventory shows. Its secret has 22 characters or more.
type PostureToken struct {
	// Source is the name of what it says.
	Source Name `yaml:"source" required:"true"`
	Secret
	// From are networks that it may be shown from; absent: any.
	From []netip.Prefix `yaml:"from"`
}

func (p *PostureToken) check(at place) { checkSecret(at, p.Secret, true) }

func (p *Posture) check(at place) {
	seen := make(map[Name]bool)
	for i, t := range p.Tokens {
		key := fmt.Sprintf("tokens[%d].source", i)
		switch {
		case t.Source == "agent" || t.Source == "ad":
			at.bad(key, "a name of its own", "%q is what others say", string(t.Source))
		case seen[t.Source] && t.Source != "":
			at.bad(key, "a name of its own for each source", "a second token of %q", string(t.Source))
		}
		seen[t.Source] = true
	}
}
