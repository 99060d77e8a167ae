// Package policy decides what an authenticated user may do: facts in, decision
// out. Nothing else comes in: no clock, no store, no directory; the same facts
// give the same decision on every machine and in every replay.
//
// A policy is a YAML file of ordered rules. The first rule that matches decides;
// when none does, the login is refused.
//
//	version: 1
//	lists:                      # by name, each of one kind; networks where it says no other
//	  offices: [203.0.113.0/24, 198.51.100.7]
//	  home: {countries: [DE, AT, CH]}
//	  ops: {groups: [Ops, Domain Admins]}
//	  scanners: {devices: [PDA-01, PDA-02]}
//	  closed: {dates: [2026-12-25, 2027-01-01]}
//	  work: {times: {days: mon-fri, from: "07:00", to: "19:00", zone: Europe/Berlin}, holidays: closed}
//	pools:                      # addresses to lease; no two may overlap
//	  staff: {ranges: [10.20.0.0/24], exclude: [10.20.0.1-10.20.0.9]}
//	filters:                    # what a session's packets may do; see readFilters
//	  office-only:
//	    - allow: {to: 10.20.0.0/16, tcp: [443, 3389]}
//	rules:
//	  - id: offices
//	    description: Staff on our own networks need no code.
//	    owner: it@example.com
//	    when: {group: VPN-Users, source: offices, time: work}
//	    then:
//	      permit: {factor: none, pool: staff, dns: [10.20.0.53], session_timeout: 10h}
//	  - id: elsewhere
//	    expires: 2027-12-31     # from when on it matches nobody
//	    when:
//	      group: VPN-Users
//	      any: [{country: home}, {last_success: "<= 30d"}]
//	    unless: {group: [Contractors, Interns]}
//	    then:
//	      permit:               # factor: code
//	        carriers: [inline, remembered, quarantine]   # how it may come, in this order
//	        remember: {for: 12h}
//	        pool: staff
//	        filter: office-only
//	  - id: stricter
//	    shadow: true            # says what it would decide, and decides nothing
//	    when: {device.confidence: attested, device.patch_age: ["> 45d", none]}
//	    then: deny
//	  - id: others
//	    then: deny
//	    message: Ask the service desk for remote access.
//	tests:
//	  - name: staff at home need a code
//	    user: alice
//	    groups: [VPN-Users]
//	    source: 192.0.2.5
//	    country: DE
//	    expect: {verdict: permit, rule: elsewhere, factor: code}
//
// All conditions of `when` must hold; several values of one condition are
// alternatives. `unless` excuses a login when all of its conditions hold; any, all and not
// put conditions together, and cel says what no other word does. The table is in
// conditions.
//
// A missing fact is a value, written `none`: no condition is true or false
// because of something we do not know, and no comparison holds of it. `not` is plain
// negation: of a condition that does not hold because something is not known, it holds.
// So `not: {device.compliant: true}` is right for a rule that denies, where it takes in
// what nobody knows, and wrong for one that permits: there, say what must be so
// (device.compliant: false). The same goes for unless, the other way round: what a rule
// that denies is not to apply to should be known. Names compare without case.
//
// A rule that cannot be evaluated, because its expression fails, denies.
//
// Loading is strict and reports every mistake at once, with file, line, column,
// the line and a caret, and what was expected; see Error.
//
// A new condition is a file cond_NAME.go and a line in conditions; a new
// obligation is a line in obligations.
package policy
