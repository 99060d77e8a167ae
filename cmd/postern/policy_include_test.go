package main

import (
	"strings"
	"testing"
)

// Included files count for the commands and for the service's own check.
func TestPolicyInclude(t *testing.T) {
	s := newSite(t)
	s.write(t, "policy.yaml", soundPolicy)
	before := s.must(t, "", "policy", "check")
	s.write(t, "policy.yaml", strings.Replace(soundPolicy, "version: 1\n", "version: 1\ninclude: [lists.yaml]\n", 1))
	s.fails(t, "", "policy.yaml:2:11: this file cannot be read: open "+s.path("lists.yaml"), "policy", "check")
	s.fails(t, "", "lists.yaml: no such file", "-test")
	s.write(t, "lists.yaml", "version: 1\nlists: {offices: [10.0.0.1/8]}\n")
	s.fails(t, "", s.path("lists.yaml")+":2:19: ", "policy", "check")
	s.fails(t, "", s.path("lists.yaml")+":2:19: ", "-test")
	s.write(t, "lists.yaml", "version: 1\nlists: {offices: [10.0.0.0/8]}\n")
	if after := s.must(t, "", "policy", "check"); after == before {
		t.Error("the version is that without the included file")
	}
	s.must(t, "", "policy", "test")
}
