package config

import "time"

// Posture is what is known of devices, and who may say so.
type Posture struct {
	// Fresh is how old an agent's report may be to say which device a login comes from.
	Fresh time.Duration `yaml:"fresh" default:"15m" min:"1m" max:"24h"`
	// SelfEnrol lets users make tickets for computers of their own in the portal; else it
	// takes an operator.
	SelfEnrol bool `yaml:"self_enrol" default:"false"`
}
