package main

import (
	"os"
	"regexp"
	"testing"

	"postern/policy"
	"postern/pptp/filter"
)

var policyBlock = regexp.MustCompile("(?m)^```yaml policy\n((?:.*\n)*?)```")

// A service writes filters down, a node reads them: neither knows the other, and here is
// where they meet. Each text means to the node what it says, word for word.
func TestNodesReadPolicysFilters(t *testing.T) {
	guide, err := os.ReadFile("../../deploy/POLICY.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../deploy/policy.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{string(example), `version: 1
lists:
  odd: [10.0.0.1, 10.0.0.2, 10.0.0.4/30, 192.0.2.0/24, 2001:db8::/32]
filters:
  all:
    - deny: {to: odd, tcp: any, udp: [53, 67-68], icmp: true, protocol: [0, 47, 255]}
    - allow: {from: [odd, 198.51.100.1-198.51.100.9], tcp: [1, 3-5, 65535]}
    - deny: {from: any}
    - allow: {to: any}
rules:
  - {id: a, then: {permit: {filter: all}}}
tests:
  - {name: a, user: alice, expect: {filter: all}}
`}
	for _, block := range policyBlock.FindAllStringSubmatch(string(guide), -1) {
		files = append(files, block[1])
	}
	n := 0
	for _, src := range files {
		p, err := policy.Load("policy.yaml", []byte(src), policy.Tested())
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range p.RunTests() {
			for _, text := range result.Decision.Obligations.Rules {
				r, err := filter.ParseRule(text)
				if err != nil || r.String() != text {
					t.Errorf("%q: %v, %v", text, r, err)
				}
				n++
			}
		}
	}
	if n < 50 {
		t.Errorf("%d texts", n)
	}
}
