package policy

import (
	"regexp"
	"strings"
	"testing"
)

// filterDigests are what a change of a filter looks like in a rule that has it.
var filterDigests = regexp.MustCompile(`filter rules: 2 lines, [0-9a-f]{8} -> 3 lines, [0-9a-f]{8}`)

const diffOld = `version: 1
lists:
  offices: [203.0.113.0/24, 198.51.100.0/24]
  gone: [192.0.2.0/24]
pools:
  staff: [10.20.0.10-10.20.0.250]
filters:
  plant:
    - allow: {to: 10.30.0.0/16}
    - deny: {to: any}
rules:
  - id: banned
    when: {group: Banned}
    then: deny
    message: Ask the desk
  - id: admins
    description: They give a code.
    when: {group: [Admins, Root], source: offices}
    then: {permit: {pool: staff, session_timeout: 1h}}
  - id: old
    when: {user: bob}
    then: permit
  - id: staff
    when: {group: VPN-Users}
    then:
      permit:
        pool: staff
        filter: plant
tests:
  - {name: admins, user: a, groups: [Admins], source: 203.0.113.1, expect: {rule: admins}}
  - {name: staff, user: a, groups: [VPN-Users], expect: {rule: staff}}
`

// What is written in another way and means the same is no difference.
func TestDiffOfTheSame(t *testing.T) {
	same := strings.NewReplacer(
		"offices: [203.0.113.0/24, 198.51.100.0/24]", "offices: # ours\n  - \"198.51.100.0/24\"\n  - 203.0.113.0/24\n",
		"{group: [Admins, Root], source: offices}", "\n      source: [offices]\n      group: ['Root', Admins]",
		"session_timeout: 1h", "session_timeout: 60m", "then: permit", "then: {permit: {factor: code}}",
	).Replace(diffOld)
	if same == diffOld {
		t.Fatal("nothing is written in another way")
	}
	a, b := load(t, diffOld), load(t, same)
	if got := Diff(a, b); got != nil || got.String() != "" {
		t.Errorf("got\n%s", got)
	}
	if got := Diff(a, a); got != nil {
		t.Errorf("got\n%s", got)
	}
}

func TestDiff(t *testing.T) {
	now := strings.NewReplacer(
		"198.51.100.0/24]", "192.0.2.128/25]", "  gone: [192.0.2.0/24]\n", "",
		"10.20.0.250", "10.20.0.200",
		"to: any}\n", "to: any}\n    - allow: {to: 10.31.0.0/16}\n",
		"message: Ask the desk", "message: Ask the front desk",
		"group: [Admins, Root], source: offices", "group: [Admins, Wheel]", "session_timeout: 1h", "session_timeout: 2h, factor: webauthn, carriers: quarantine",
		"  - id: old\n    when: {user: bob}\n    then: permit\n", "",
		"rules:\n", "rules:\n  - id: country\n    when: {source: 192.0.2.0/24}\n    unless: {group: Travellers}\n    then: deny\n",
		"  - {name: staff, user: a, groups: [VPN-Users], expect: {rule: staff}}\n", "  - {name: more, user: b, groups: [VPN-Users], expect: {rule: staff}}\n",
	).Replace(diffOld)
	const want = `+ rule country, before banned
    when source: 192.0.2.0/24
    unless group: Travellers
    then: deny
~ rule banned
    message: Ask the desk -> Ask the front desk
~ rule admins
    - when group: Root
    + when group: Wheel
    - when source: offices
    factor: code -> webauthn
    + carriers: quarantine
    session_timeout: 1h0m0s -> 2h0m0s
~ rule staff
    filter rules: 2 lines, FROM -> 3 lines, TO
- rule old
    when user: bob
    then: permit
    factor: code
- list gone
    192.0.2.0/24
~ list offices
    - 198.51.100.0/24
    + 192.0.2.128/25
~ pool staff
    10.20.0.10-10.20.0.250 -> 10.20.0.10-10.20.0.200
~ filter plant
    + allow: {to: 10.31.0.0/16}
+ test more
    user: b
    groups: VPN-Users
    expect rule: staff
- test staff
    user: a
    groups: VPN-Users
    expect rule: staff
`
	a, b := load(t, diffOld), load(t, now)
	got := Diff(a, b).String()
	got = filterDigests.ReplaceAllString(got, "filter rules: 2 lines, FROM -> 3 lines, TO")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Backwards, what came is gone.
	back := Diff(b, a)
	if len(back) != len(Diff(a, b)) {
		t.Errorf("backwards:\n%s", back)
	}
}

// Rules take logins from those behind them: their order is told, with as few moves as
// there can be.
func TestDiffOrder(t *testing.T) {
	text := func(ids string) string {
		var b strings.Builder
		b.WriteString("version: 1\nrules:\n")
		for _, id := range ids {
			b.WriteString("  - {id: " + string(id) + ", when: {user: " + string(id) + "}, then: permit}\n")
		}
		return b.String()
	}
	for _, row := range []struct{ old, now, want string }{
		{"abcd", "abcd", ""},
		{"abcd", "dabc", "> rule d, before a\n"},
		{"abcd", "bcda", "> rule a, the last\n"},
		{"abcd", "acbd", "> rule b, before d\n"},
		{"abcd", "dcba", "> rule c, before b\n> rule b, before a\n> rule a, the last\n"},
		{"abc", "axbc", "+ rule x, before b\n    when user: x\n    then: permit\n    factor: code\n"},
	} {
		if got := Diff(load(t, text(row.old)), load(t, text(row.now))).String(); got != row.want {
			t.Errorf("%s to %s: got\n%s", row.old, row.now, got)
		}
	}
	const lines = "version: 1\nfilters: {f: [%s]}\nrules: [{id: r, when: {user: u}, then: permit}]\n"
	a := load(t, strings.Replace(lines, "%s", "{allow: {to: 10.0.0.0/8}}, {deny: {to: any}}", 1))
	b := load(t, strings.Replace(lines, "%s", "{deny: {to: any}}, {allow: {to: 10.0.0.0/8}}", 1))
	if got := Diff(a, b).String(); !strings.HasPrefix(got, "~ filter f\n    order: ") {
		t.Errorf("got\n%s", got)
	}
}
