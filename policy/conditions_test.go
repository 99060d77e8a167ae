package policy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// sampleValues is a value that each condition takes, and one that it does not.
var sampleValues = map[string][2]string{
	"group": {"Staff", "7"}, "user": {"[alice, none]", "true"}, "realm": {"none", "{}"}, "source": {"10.0.0.0/8", "10.0.0.1/8"},
	"country": {"[DE, none]", "UK"}, "asn": {"[64496, AS64511, none]", "AS"}, "nas": {"gw1", "[]"}, "node": {"true", "none"},
	"tunnel": {"PPTP", "1"}, "client": {"LT-0231", "1"}, "client_version": {"MSRASV5.20", "5.20"}, "key": {"[none, ntlm]", "rc4"},
	"factor": {"[code, webauthn]", "password"}, "time": {"{days: mon-fri}", "mon-fri"}, "last_success": {`"<= 30d"`, `"= 30d"`},
	"risk.user_failures": {`">= 3"`, "none"}, "risk.source_failures": {"0", "-1"}, "risk.source_users": {`"!= 0"`, `">= x"`},
	"risk.code_failures": {`"< 5"`, `"5 <"`}, "device": {"[LT-0231, none]", "7"}, "device.known": {"false", "none"},
	"device.owned": {"[true, none]", "yes"}, "device.join": {"[tag, enrolled, none]", "guess"}, "device.confidence": {"attested", "[attested]"},
	"device.report_age": {`["> 1h", none]`, `"> yesterday"`}, "device.group": {"Laptops", "7"}, "device.os": {"windows", "7"},
	"device.os_version": {`">= 10.0.19045"`, `">= ten"`}, "device.managed": {"true", "1"}, "device.compliant": {"none", `"true"`},
	"device.disk_encrypted": {"true", "1"}, "device.firewall": {"[false, none]", "off"}, "device.antivirus": {"true", "1"},
	"device.screen_lock": {"true", "1"}, "device.enabled": {"true", "1"}, "device.patch_age": {`"> 45d"`, `"> 5000d"`},
	"device.uptime": {`"< 30d"`, "30"}, "device.last_logon_age": {"none", `"> -1d"`},
	"any": {"[{group: G}]", "{group: G}"}, "cel": {`client == "x"`, "7"}, "all": {"{group: G}", "G"}, "not": {"{group: G}", "[{group: G}]"},
}

// TestConditionTable: every condition says of itself what others need, reads what it
// says, and refuses something else.
func TestConditionTable(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for i := range conditions {
		c := &conditions[i]
		v := &c.values
		if c.doc == "" || !strings.HasSuffix(c.doc, ".") || v.say == "" || !v.single && !v.several {
			t.Errorf("%s: doc %q, values %+v", c.key, c.doc, v)
		}
		if len(v.words) == 0 && v.pattern == "" && v.list == noList && !v.integer && !v.boolean && !v.conditions && !v.window {
			t.Errorf("%s has no values", c.key)
		}
		if _, err := regexp.Compile(v.pattern); err != nil {
			t.Errorf("%s: %v", c.key, err)
		}
		if said := c.fact(&Facts{}, now); !slices.Contains([]string{missing, "false", "0", "2026-11-24T12:00:00Z"}, said) && !v.conditions && c.key != "cel" {
			t.Errorf("%s: of nothing it says %q", c.key, said)
		}
		sample := sampleValues[c.key]
		p := load(t, "version: 1\nrules:\n  - {id: a, when: {"+c.key+": "+sample[0]+"}, then: deny}\n")
		if cl := &p.rules[0].when[0]; cl.key != c.key || cl.condition() != c || cl.text == "" || cl.file != "policy.yaml" || cl.pos.Line != 3 {
			t.Errorf("%s: clause %+v", c.key, cl)
		}
		if _, err := Load("p.yaml", []byte("version: 1\nrules:\n  - {id: a, when: {"+c.key+": "+sample[1]+"}, then: deny}\n")); err == nil {
			t.Errorf("%s: %s is taken", c.key, sample[1])
		}
	}
}
