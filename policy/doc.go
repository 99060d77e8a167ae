// Package policy decides what an authenticated user may do: facts in, decision
// out. Nothing else comes in: no clock, no store, no directory; the same facts
// give the same decision on every machine and in every replay.
//
// A policy is a YAML file of ordered rules. The first rule that matches decides;
// when none does, the login is refused.
//
//	version: 1
//	lists:                      # networks by name
//	  offices: [203.0.113.0/24, 198.51.100.7]
//	pools:                      # addresses to lease; no two may overlap
//	  staff: {ranges: [10.20.0.0/24], exclude: [10.20.0.1-10.20.0.9]}
//	filters:                    # what a session's packets may do; see readFilters
//	  office-only:
//	    - allow: {to: 10.20.0.0/16, tcp: [443, 3389]}
//	rules:
//	  - id: offices
//	    description: Staff on our own networks need no code.
//	    when: {group: VPN-Users, source: offices}
//	    then:
//	      permit: {factor: none, pool: staff, dns: [10.20.0.53], session_timeout: 10h}
//	  - id: elsewhere
//	    when: {group: VPN-Users}
//	    unless: {group: [Contractors, Interns]}
//	    then:
//	      permit:               # factor: code
//	        carriers: [inline, remembered, quarantine]   # how it may come, in this order
//	        remember: {for: 12h}
//	        pool: staff
//	        filter: office-only
//	  - id: others
//	    then: deny
//	    message: Ask the service desk for remote access.
//	tests:
//	  - name: staff at home need a code
//	    user: alice
//	    groups: [VPN-Users]
//	    source: 192.0.2.5
//	    expect: {verdict: permit, rule: elsewhere, factor: code}
//
// All conditions of `when` must hold; several values of one condition are
// alternatives. `unless` excuses a login when all of its conditions hold. A
// missing fact is a value, written `none`: no condition is true or false
// because of something we do not know. Names compare without case.
//
// Loading is strict and reports every mistake at once, with file, line, column,
// the line and a caret, and what was expected; see Error.
//
// A new condition is a file cond_NAME.go and a line in conditions; a new
// obligation is a line in obligations.
package policy
