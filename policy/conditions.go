package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// matcher is one condition of a rule with its values.
type matcher interface{ match(e *evaluation) bool }

// condition is one key of `when:` and `unless:`. The table below is the one place where
// it is described: to the loader, to explanations, to editors and to people.
type condition struct {
	key string
	doc string // when it holds, in a sentence
	// read returns nil after a mistake.
	read   func(r *reader, n ast.Node) matcher
	values values
	// fact is what a login has of it, in words; "" where it is about other conditions.
	fact func(f *Facts, now time.Time) string
}

// values says how a condition's values are written.
type values struct {
	say     string   // in words, as messages have it
	words   []string // that may be written
	pattern string   // of other texts (ECMA 262); "": there are none
	list    listKind // whose names may be written; noList: none
	integer bool     // whole numbers
	boolean bool     // true and false
	single  bool     // one value may stand alone
	several bool     // a list of values is possible, which are alternatives
	// conditions means that what is inside are conditions: a mapping where single is
	// possible, a list of mappings where several are.
	conditions bool
	window     bool // a mapping may be written, see windowKeys
}

// conditions is the whole language; each has its file cond_NAME.go.
var conditions = []condition{
	{"group", "The user is in one of the groups, nested ones included.", readGroup, anyName("groups", groupsList), factGroup},
	{"user", "The user has one of the names.", readUser, anyName("names of users", noList), factUser},
	{"realm", "The name was typed with one of the realms: a claim.", readRealm, anyName("names of realms", noList), factRealm},
	{"source", "The client's address is in one of the networks.", readSource, networkValues(networksList), factSource},
	{"country", "The client's address is of one of the countries.", readCountry, countryValues(), factCountry},
	{"asn", "The client's address is of one of the autonomous systems.", readASN, asnValues(), factASN},
	{"nas", "The server that asks has one of the identifiers or addresses.", readNAS, networkValues(noList), factNAS},
	{"node", "The server that asks is a node of ours.", readNode, yesNo(), factNode},
	{"tunnel", "The login is for a tunnel of one of the types.", readTunnel, anyName("types such as PPTP", noList), factTunnel},
	{"client", "The client calls itself by one of the names: a claim.", readClient, anyName("names of clients", noList), factClient},
	{"client_version", "The client says that it is of one of the versions: a claim.", readClientVersion, anyName("versions of clients", noList), factClientVersion},
	{"key", "The session's keys are made of this.", readKey, wordsOf(keyGradeNames[:]), factKey},
	{"factor", "The second factor that has come so far.", readGiven, wordsOf(givenNames[:]), factGiven},
	{"time", "The zone's clock shows a time inside of one of the windows.", readTime, timeValues(), factTime},
	{"last_success", "How long ago the user last got in from this address.", readAge(lastSuccess), ageValues(), factAge(lastSuccess)},
	{"risk.user_failures", "Wrong passwords for this user, from anywhere.", readCount(userFailures), countValues(), factCount(userFailures)},
	{"risk.source_failures", "Wrong passwords from this address, for anybody.", readCount(sourceFailures), countValues(), factCount(sourceFailures)},
	{"risk.source_users", "Users that failed from this address.", readCount(sourceUsers), countValues(), factCount(sourceUsers)},
	{"risk.code_failures", "Wrong codes of this user.", readCount(codeFailures), countValues(), factCount(codeFailures)},
	{"device", "The device has one of the identifiers or host names.", readDevice, anyName("identifiers or names of devices", devicesList), factDevice},
	{"device.known", "Our records know the device.", readKnown, yesNo(), factKnown},
	{"device.owned", "The device belongs to the user.", readTri(deviceOwned), triValues(), factTri(deviceOwned)},
	{"device.join", "How the login was found to come from the device.", readJoin, wordsOf(append(Joins[:len(Joins):len(Joins)], missing)), factJoin},
	{"device.confidence", "How far what is said of the device can be believed, at least; what can be believed less is unknown to the whole rule.",
		readConfidence, confidenceValues(), factConfidence},
	{"device.report_age", "How long ago the device was last heard of.", readAge(deviceReported), ageValues(), factAge(deviceReported)},
	{"device.group", "The device is in one of the directory's groups, nested ones included.", readDeviceGroup, anyName("groups", groupsList), factDeviceGroup},
	{"device.os", "The device's operating system: windows, macos, linux, ios, android and others.", readOS, anyName("operating systems such as windows", noList), factOS},
	{"device.os_version", "The version of the device's operating system; as many numbers are compared as are written.", readVersion, versionValues(), factVersion},
	{"device.managed", "The device is managed.", readTri(deviceManaged), triValues(), factTri(deviceManaged)},
	{"device.compliant", "The inventory calls the device compliant.", readTri(deviceCompliant), triValues(), factTri(deviceCompliant)},
	{"device.disk_encrypted", "All fixed disks are encrypted.", readTri(deviceEncrypted), triValues(), factTri(deviceEncrypted)},
	{"device.firewall", "The firewall is on.", readTri(deviceFirewall), triValues(), factTri(deviceFirewall)},
	{"device.antivirus", "The virus scanner is on and up to date.", readTri(deviceAntivirus), triValues(), factTri(deviceAntivirus)},
	{"device.screen_lock", "The screen locks by itself.", readTri(deviceLock), triValues(), factTri(deviceLock)},
	{"device.enabled", "The directory's account of the device is enabled.", readTri(deviceEnabled), triValues(), factTri(deviceEnabled)},
	{"device.patch_age", "How long ago the device was last patched.", readAge(devicePatched), ageValues(), factAge(devicePatched)},
	{"device.uptime", "How long ago the device was started.", readAge(deviceBooted), ageValues(), factAge(deviceBooted)},
	{"device.last_logon_age", "How long ago the device last logged on to the directory.", readAge(deviceLastLogon), ageValues(), factAge(deviceLastLogon)},
}

// Conditions that hold others, apart from the rest because reading them reads those; and
// what is said in no word of ours.
var nesting = []condition{
	{"any", "One of the mappings holds, which is when all conditions in it do.", readAny, values{say: "a list of conditions", several: true, conditions: true}, noFact},
	{"all", "All conditions hold.", readAll, values{say: "conditions, or a list of such", single: true, several: true, conditions: true}, noFact},
	{"cel", "An expression in CEL is true; see the variables that it may use.", readCEL, values{say: expectCEL, pattern: ".", single: true}, noFact},
	{"not", "Not all of the conditions hold; one about what is not known does not.", readNot, values{say: "conditions", single: true, conditions: true}, noFact},
}

func noFact(*Facts, time.Time) string { return "" }

func init() { conditions = append(conditions, nesting...) }

func anyName(what string, list listKind) values {
	return values{say: what, words: []string{missing}, pattern: ".", list: list, single: true, several: true}
}

func wordsOf(words []string) values {
	return values{say: "one of: " + strings.Join(words, ", "), words: words, single: true, several: true}
}

func conditionKeys() []string {
	keys := make([]string, len(conditions))
	for i, c := range conditions {
		keys[i] = c.key
	}
	return keys
}

// conditionFor is the condition of that key, nil when there is none.
func conditionFor(key string) *condition {
	for i := range conditions {
		if conditions[i].key == key {
			return &conditions[i]
		}
	}
	return nil
}

// readConditions reads the value of `when:` or `unless:`, or one inside of any, all and
// not. A clause whose value is wrong is not among them.
func (r *reader) readConditions(n ast.Node) []clause {
	entries, clean := r.mapping(n, "conditions, such as {group: Staff}")
	if clean && len(entries) == 0 {
		r.fail(position(n), "at least one condition, or leave the key away", "no condition")
	}
	var cs []clause
	for _, e := range entries {
		known := conditionFor(e.key)
		if known == nil {
			r.fail(e.pos, expectCondition(e.key), "unknown condition %q%s", e.key, didYouMean(e.key, conditionKeys()))
			continue
		}
		m := known.read(r, e.val)
		if m == nil {
			continue
		}
		c := clause{key: e.key, file: r.file, pos: e.pos, text: oneLine(e.val), matcher: m}
		if h, ok := m.(interface{ inside() []clause }); ok {
			c.kids = h.inside()
		}
		cs = append(cs, c)
	}
	lastCEL(cs)
	return cs
}

// expectCondition lists the conditions, those of a family only if key is of it.
func expectCondition(key string) string {
	family, _, dotted := strings.Cut(key, ".")
	var keys []string
	for _, k := range conditionKeys() {
		f, _, member := strings.Cut(k, ".")
		switch {
		case !member || dotted && f == family:
			keys = append(keys, k)
		case !slices.Contains(keys, f+".…"):
			keys = append(keys, f+".…")
		}
	}
	return "one of: " + strings.Join(keys, ", ")
}

// oneLine is a value as the file has it, on one line.
func oneLine(n ast.Node) string { return canon(n) }

// names is the values of a condition on one name: folded; "" stands for none.
type names []string

func (r *reader) readNames(n ast.Node, what string) names {
	var ns names
	for _, el := range r.values(n, what) {
		s, ok := r.name(el, what)
		if !ok {
			continue
		}
		if s = foldString(s); s == missing {
			s = ""
		}
		ns = append(ns, s)
	}
	return ns
}

func (ns names) has(folded []byte) bool {
	for _, n := range ns {
		if n == string(folded) {
			return true
		}
	}
	return false
}

// set is the values of a condition on one of at most eight words: a bit for each.
type set uint8

func (s set) has(i uint8) bool { return i < 8 && s&(1<<i) != 0 }

// readSet reads some of the words, which are not the zero value's name by chance: where
// they say none, that is what is not known.
func (r *reader) readSet(n ast.Node, words []string) (s set) {
	expected := "one of: " + strings.Join(words, ", ")
	for _, el := range r.values(n, expected) {
		word, ok := r.text(el, expected)
		if !ok {
			continue
		}
		i := slices.Index(words, word)
		if i < 0 {
			r.fail(position(el), expected, "%q is not possible here%s", word, didYouMean(word, words))
			continue
		}
		s |= 1 << i
	}
	return s
}

// readBools reads true, false and none, as bits by Tri.
func (r *reader) readBools(n ast.Node) (s set) {
	const expected = "true, false or none"
	for _, el := range r.values(n, expected) {
		if b, ok := el.(*ast.BoolNode); ok {
			s |= 1 << tri(b.Value)
			continue
		}
		if t, ok := el.(*ast.StringNode); ok && t.Value == missing {
			s |= 1 << Unknown
			continue
		}
		r.wrongType(el, expected)
	}
	return s
}

func tri(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

func yesNo() values { return values{say: "true or false", boolean: true, single: true} }

func triValues() values {
	return values{say: "true, false or none", words: []string{missing}, boolean: true, single: true, several: true}
}

func ageValues() values {
	return values{say: expectAge, words: []string{missing}, pattern: patternAge, single: true, several: true}
}

func countValues() values {
	return values{say: expectCount, pattern: patternCount, integer: true, single: true, several: true}
}

func versionValues() values {
	return values{say: expectVersion, words: []string{missing}, pattern: patternVersion, integer: true, single: true, several: true}
}

func networkValues(list listKind) values {
	say := "networks or addresses"
	if list == noList {
		say = "identifiers, networks or addresses"
	}
	return values{say: say, words: []string{missing}, pattern: ".", list: list, single: true, several: true}
}

// inWords is a name as explanations say it.
func inWords(s string) string {
	if s == "" {
		return missing
	}
	return s
}

func joined(names []string) string { return inWords(strings.Join(names, ", ")) }

// aged is an instant as explanations say it.
func aged(t, now time.Time) string {
	if t.IsZero() {
		return missing
	}
	return short(ageAt(t, now).Truncate(time.Second)) + " ago"
}

func counted(n int) string { return strconv.Itoa(n) }
