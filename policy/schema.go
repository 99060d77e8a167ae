package policy

import (
	"encoding/json"
	"slices"
)

// Schema is a description of policy files, and of files that they include, in JSON Schema
// (draft 2020-12), for editors: it completes keys and words and says what they are for.
// What it lets pass need not be right; Load knows everything. Conditions and what may be
// written behind them come from the table of conditions, obligations and facts from
// theirs.
func Schema() []byte {
	b, err := json.MarshalIndent(fileSchema(), "", "  ")
	if err != nil {
		return nil // cannot be: maps, lists and texts
	}
	return append(b, '\n')
}

// object is a JSON object.
type object = map[string]any

const (
	patternName     = "^[A-Za-z][A-Za-z0-9_-]{0,63}$"
	patternDuration = "^[0-9][0-9.dhms]*$"
	patternDate     = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
	patternClock    = "^[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?$"
	patternBits     = "^[0-9.]+[kKMG]?$"
	patternPorts    = "^([0-9]{1,5}(-[0-9]{1,5})?|any)$"
)

func text(pattern string) object { return object{"type": "string", "pattern": pattern} }

func anyText() object { return object{"type": "string", "minLength": 1} }

func enum(words ...string) object { return object{"enum": words} }

func integer(low, high int) object { return object{"type": "integer", "minimum": low, "maximum": high} }

func truth() object { return object{"type": "boolean"} }

func defined(name string) object { return object{"$ref": "#/$defs/" + name} }

func listOf(element object) object {
	return object{"type": "array", "items": element, "minItems": 1}
}

// either is one of the alternatives.
func either(alternatives ...object) object {
	if len(alternatives) == 1 {
		return alternatives[0]
	}
	return object{"anyOf": alternatives}
}

// oneOrMore is a value, or a list of such.
func oneOrMore(element object) object { return either(element, listOf(element)) }

// record is a mapping with these keys and no others.
func record(properties object, required ...string) object {
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// byName is a mapping from names to values.
func byName(value object) object {
	return object{"type": "object", "propertyNames": text(patternName), "additionalProperties": value}
}

func described(o object, description string) object {
	all := object{"description": description}
	for k, v := range o {
		all[k] = v
	}
	return all
}

func fileSchema() object {
	o := record(object{
		"version": described(object{"const": 1}, "The language that the file is written in."),
		"include": described(object{"type": "array", "items": anyText(), "maxItems": maxIncludes, "uniqueItems": true},
			"Files beside this one or below that hold lists, pools and filters."),
		"lists":   described(byName(defined("list")), "Lists by name: of networks, countries, groups, devices, dates or times."),
		"pools":   described(byName(defined("pool")), "Addresses to lease, by name; no two pools may overlap."),
		"filters": described(byName(object{"type": "array", "items": defined("filterRule"), "minItems": 1}), "What a session's packets may do, by name; what no rule of a filter allows is dropped."),
		"rules":   described(object{"type": "array", "items": defined("rule"), "maxItems": maxRules}, "The first rule that matches decides; when none does, the login is refused."),
		"tests":   described(object{"type": "array", "items": defined("test")}, "Logins and what must become of them. A policy whose tests fail is not put in force."),
	})
	o["$schema"], o["title"] = "https://json-schema.org/draft/2020-12/schema", "A policy of Postern, or a file that one includes"
	// What has no rules is an included file.
	o["anyOf"] = []object{
		{"required": []string{"version", "rules"}},
		{"not": object{"anyOf": []object{{"required": []string{"rules"}}, {"required": []string{"tests"}}, {"required": []string{"include"}}}}},
	}
	o["$defs"] = object{
		"list": listSchema(), "window": windowSchema(), "pool": poolSchema(), "filterRule": filterSchema(), "traffic": trafficSchema(),
		"conditions": conditionsSchema(), "rule": ruleSchema(), "permit": permitSchema(), "test": testSchema(), "expect": expectSchema(),
	}
	return o
}

func listSchema() object {
	networks := object{"type": "array", "items": anyText()}
	kinds := []object{described(networks, "Networks and addresses.")}
	for kind, value := range map[listKind]object{
		networksList: networks, countriesList: listOf(either(enum(countryCodes...), text("^[A-Za-z]{2}$"))), groupsList: listOf(anyText()),
		devicesList: listOf(anyText()), datesList: listOf(text(patternDate)),
	} {
		kinds = append(kinds, record(object{kind.String(): value}, kind.String()))
	}
	// Maps have no order, and a description has one.
	slices.SortStableFunc(kinds[1:], func(a, b object) int {
		return slices.Compare(a["required"].([]string), b["required"].([]string))
	})
	kinds = append(kinds, record(object{
		timesList.String(): oneOrMore(defined("window")), "zone": zoneSchema(), "holidays": holidaysSchema(),
	}, timesList.String()))
	return object{"anyOf": kinds}
}

func zoneSchema() object {
	return described(anyText(), "A zone such as Europe/Berlin, or UTC.")
}

func holidaysSchema() object {
	return described(either(text(patternName), listOf(text(patternDate))), "Days that the window is not of: dates, or the name of a list of dates.")
}

func windowSchema() object {
	day := text("^[A-Za-z]+( *- *[A-Za-z]+)?$")
	o := described(record(object{
		"days": described(oneOrMore(day), "Days such as mon-fri, sat or [mon, wed, fri]."),
		"from": described(text(patternClock), `A time of day such as "07:30", in quotes.`),
		"to":   described(text(patternClock), `The time of day at which it is over; before from, it is over midnight.`),
		"zone": zoneSchema(), "holidays": holidaysSchema(),
	}), "A part of some days, as the clock of a zone shows it.")
	o["minProperties"] = 1
	return o
}

func poolSchema() object {
	ranges := object{"type": "array", "items": anyText()}
	return either(
		described(ranges, "Addresses such as 10.0.0.0/24, 10.0.0.10-10.0.0.99 or 10.0.0.5."),
		record(object{"ranges": ranges, "exclude": ranges, "nas": described(oneOrMore(anyText()), "Identifiers, addresses or networks of the NAS that the pool is for; absent: all.")}, "ranges"),
	)
}

func filterSchema() object {
	o := record(object{"allow": defined("traffic"), "deny": defined("traffic")})
	o["minProperties"], o["maxProperties"] = 1, 1
	return o
}

func trafficSchema() object {
	others, ports := oneOrMore(anyText()), oneOrMore(either(integer(1, 65535), text(patternPorts)))
	o := record(object{
		"to":   described(others, "Where the client's packets go: networks, names of lists, or any."),
		"from": described(others, "Who may open something to the client."),
		"tcp":  described(ports, "Ports such as 443 or 8000-8080, or any."), "udp": described(ports, "Ports such as 53, or any."),
		"icmp": object{"const": true}, "protocol": described(oneOrMore(integer(0, 255)), "Numbers of IP protocols."),
	})
	o["oneOf"] = []object{{"required": []string{"to"}}, {"required": []string{"from"}}}
	return o
}

// conditionsSchema is `when:`, `unless:`, and what any, all and not have inside.
func conditionsSchema() object {
	properties := make(object, len(conditions))
	for i := range conditions {
		c := &conditions[i]
		properties[c.key] = described(c.values.schema(), c.doc+" Written: "+c.values.say+".")
	}
	o := described(record(properties), "All of the conditions must hold; several values of one are alternatives; none is what is not known.")
	o["minProperties"] = 1
	return o
}

// schema says what may be written behind a condition.
func (v *values) schema() object {
	var one []object
	if v.conditions {
		one = append(one, defined("conditions"))
	}
	if len(v.words) > 0 {
		one = append(one, enum(v.words...))
	}
	switch v.pattern {
	case "":
		if v.list != noList {
			one = append(one, text(patternName))
		}
	case ".":
		one = append(one, anyText())
	default:
		one = append(one, text(v.pattern))
	}
	if v.integer {
		number := object{"type": "integer", "minimum": 0}
		if v.pattern == patternVersion {
			number["type"] = "number" // 22.04 is one
		}
		one = append(one, number)
	}
	if v.boolean {
		one = append(one, truth())
	}
	if v.window {
		one = append(one, defined("window"))
	}
	element := either(one...)
	switch {
	case v.single && v.several:
		return oneOrMore(element)
	case v.several:
		return listOf(element)
	}
	return element
}

func ruleSchema() object {
	o := record(object{
		"id":          described(text(patternName), "What the rule is called in decisions, logs and tests."),
		"description": described(anyText(), "What the rule is for."),
		"owner":       described(object{"type": "string", "minLength": 1, "maxLength": maxOwner}, "Whom to ask about it."),
		"expires": described(either(text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+)?$`), record(object{"date": text(patternDate), "zone": zoneSchema()}, "date")),
			"The last day on which it matches, or the instant from which on it does not."),
		"accept":  described(oneOrMore(enum(acceptable()...)), "Findings of the linter that are known and meant."),
		"shadow":  described(truth(), "It decides nothing; what it would have decided is logged."),
		"when":    described(defined("conditions"), "All of these hold."),
		"unless":  described(defined("conditions"), "The rule does not match when all of these hold."),
		"then":    described(either(enum(verdictNames[:]...), record(object{"permit": defined("permit")}, "permit")), "deny, or permit with what comes with it."),
		"message": described(object{"type": "string", "minLength": 1, "maxLength": maxMessage}, "What the user is told, beside then: deny."),
	}, "id", "then")
	o["if"] = object{"required": []string{"message"}}
	o["then"] = object{"properties": object{"then": object{"const": Deny.String()}}}
	return o
}

// obligationValues says what may be written behind each of the obligations, and what it
// is. A test sees to it that none is missing.
func obligationValues() map[string]object {
	duration := func(what string) object {
		return described(text(patternDuration), what+" A duration such as 30m, 12h or 7d.")
	}
	servers := func(what string) object {
		o := listOf(object{"type": "string", "format": "ipv4"})
		o["maxItems"] = 2
		return described(either(object{"type": "string", "format": "ipv4"}, o), what)
	}
	bits := either(object{"type": "integer", "minimum": minBandwidth}, text(patternBits))
	bandwidth := record(object{"up": described(bits, "From the client."), "down": described(bits, "To the client.")})
	bandwidth["minProperties"] = 1
	sessions := either(integer(1, maxSessions), record(object{
		"max": described(integer(1, maxSessions), "At once."), "on_limit": described(enum(onLimit...), "refuse unless replace is named."),
	}, "max"))
	return map[string]object{
		"factor":   described(enum(factorNames[:]...), "The second factor that is demanded; a code unless another is named."),
		"carriers": described(oneOrMore(enum(carrierWords()...)), "How the factor may come, in the order in which they are tried."),
		"remember": described(record(object{
			"for": duration("From when the factor was given."), "idle": duration("Since it was last used."),
			"prefix": described(integer(minPrefix, maxPrefix), "Bits of the source's IPv4 address that must be the same."),
			"device": described(truth(), "The client's name for itself must be the same, where it gives one."),
		}, "for"), "How long a factor is remembered, and what it is bound to besides the user."),
		"quarantine":      duration("How long a quarantined session waits for the factor."),
		"isolate":         described(truth(), "The session stays in quarantine, with its factor or without, until a rule that does not isolate matches."),
		"banner":          described(object{"type": "string", "minLength": 1, "maxLength": maxBanner}, "What the portal tells the user."),
		"pool":            described(oneOrMore(text(patternName)), "The pool that the address is of; of several the first that has one."),
		"dns":             servers("DNS servers, IPv4, at most two."),
		"nbns":            servers("NBNS (WINS) servers, IPv4, at most two."),
		"routes":          described(oneOrMore(anyText()), "IPv4 networks that are behind the client."),
		"filter":          described(text(patternName), "A filter of this file, or one that the NAS has."),
		"bandwidth":       described(bandwidth, "Limits in bits a second, such as 512k, 10M or 1.5G."),
		"session_timeout": duration("After which the session ends."),
		"idle_timeout":    duration("Without traffic, after which the session ends."),
		"interim":         duration("Between the NAS' reports."),
		"review":          duration("After which the session is looked at again at the latest."),
		"sessions":        described(sessions, "Sessions of the user at once, and what becomes of a login beyond them: it is refused, or the oldest session ends."),
		"mppe":            described(object{"enum": strengths}, "The least strength of a session's key in bits."),
		"password_change": described(truth(), "An expired password may be changed in the login dialogue."),
	}
}

func permitSchema() object {
	properties := make(object)
	for key, value := range obligationValues() {
		properties[key] = value
	}
	o := described(record(properties), "What a permit comes with.")
	o["type"] = []string{"object", "null"}
	return o
}

// factValues says what tests may write of each fact.
func factValues() map[string]object {
	name := func(what string) object { return described(anyText(), what+", or none.") }
	groups := object{"type": "array", "items": anyText()}
	ago := described(text("^([0-9][0-9.dhms]*|none)$"), "How long before the test's moment, such as 3d or 90m, or none.")
	answer := either(truth(), enum(missing))
	count := integer(0, maxCount)
	device := object{
		"known": truth(), "confidence": enum(confidenceNames[Claimed:]...), "id": anyText(), "name": anyText(), "owned": answer,
		"join": enum(Joins[:]...), "groups": groups, "os": anyText(), "os_version": either(anyText(), object{"type": "number"}),
	}
	for _, key := range []string{"managed", "compliant", "disk_encrypted", "firewall", "antivirus", "screen_lock", "enabled"} {
		device[key] = answer
	}
	for _, key := range []string{"report_age", "patch_age", "uptime", "last_logon_age"} {
		device[key] = ago
	}
	devices := record(device)
	devices["minProperties"] = 1
	return map[string]object{
		"user": name("The user's canonical name"), "realm": name("The realm that was typed"),
		"groups": described(groups, "The user's groups, nested ones included."),
		"source": described(anyText(), "The client's address."), "country": described(either(enum(append(slices.Clone(countryCodes), missing)...), text("^[A-Za-z]{2}$")), "The country of the client's address, or none."),
		"asn": described(either(integer(1, 1<<32-1), text("^([Aa][Ss])?[0-9]{1,10}$|^none$")), "The autonomous system of the client's address, or none."),
		"nas": name("The NAS-Identifier"), "nas_address": described(anyText(), "The address of the server that asks."),
		"node": described(truth(), "The server that asks is a node of ours."), "tunnel": name("The tunnel's type, such as PPTP"),
		"client": name("What the client calls itself"), "client_version": name("The version that the client says it is of"),
		"key":    described(enum(keyGradeNames[:]...), "What the session's keys are made of."),
		"factor": described(enum(givenNames[:]...), "The second factor that has come so far."), "last_success": described(ago, "How long ago the user got in from this address, such as 3d, or none."),
		"risk":   described(record(object{"user_failures": count, "source_failures": count, "source_users": count, "code_failures": count}), "What the lockout shield has counted."),
		"device": described(devices, "What is known of the device: all of one confidence, claimed unless another is named."),
	}
}

func testSchema() object {
	properties := func() object {
		o := object{
			"name": described(anyText(), "What the test shows."), "at": described(anyText(), "The moment: "+expectMoment+"."),
			"expect": defined("expect"),
		}
		for key, value := range factValues() {
			o[key] = value
		}
		return o
	}
	test := properties()
	rows := listOf(record(properties()))
	rows["maxItems"] = maxRows
	test["table"] = described(rows, "Logins that differ from the test's in what they say, a test each.")
	o := record(test, "name")
	o["anyOf"] = []object{{"required": []string{"expect"}}, {"required": []string{"table"}}}
	return o
}

func expectSchema() object {
	id := either(text(patternName), enum(missing))
	properties := object{
		"verdict": enum(verdictNames[:]...), "rule": described(id, "The rule that decides, or none."),
		"shadow": described(id, "The rule in shadow that would have decided, or none."),
	}
	for key, value := range obligationValues() {
		properties[key] = either(value, enum(missing))
	}
	o := described(record(properties), "What must become of the login.")
	o["minProperties"] = 1
	return o
}
