package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	celref "cel.dev/cel-go/common/types/ref"
	"github.com/goccy/go-yaml/ast"
)

// isTrue holds when an expression in CEL (https://cel.dev) does: for the odd condition
// that no other word says.
//
//	cel: risk.user_failures > 2 * risk.code_failures || client.startsWith("test-")
//
// It is compiled and type-checked at load, must be a bool, and has a bound: what may cost
// more than maxCost is refused at load, and what does nevertheless fails. It is looked at
// after the other conditions beside it. An expression that fails makes its rule deny,
// whatever the rule says: `device.groups[0]` of a device without groups.
//
// Every fact is always there; see celVariables for its name. What is not known is "", 0,
// an empty list and false; an age that is not known is longer than any other. Which facts
// about the device are not known, device.unknown lists: "compliant" in device.unknown.
// The clock goes by whole minutes here, so that it can be said when it changes something.
type isTrue struct {
	program cel.Program
	timed   bool // it looks at the clock
}

const (
	maxExpression = 2048 // octets, ours

	// maxCost bounds the work of an expression in CEL's units, ours: an access to a
	// variable is one, a comparison of texts one for each ten octets. It is what a
	// comparison of all groups with a word may take, some hundred microseconds.
	maxCost = 200_000
	// What facts take at most, for the estimate.
	celGroups = 1024
	celText   = maxName

	// celTick is how exactly expressions know the time.
	celTick = time.Minute

	expectCEL = `an expression in CEL that is true or false, such as 'client.startsWith("test-")'`
)

// celVariable is a fact as expressions see it.
type celVariable struct {
	name  string
	kind  *cel.Type
	timed bool
	value func(e *evaluation) any
}

func celAge(of instant) func(*evaluation) any {
	return func(e *evaluation) any {
		t := of(e.f, e.demand)
		if t.IsZero() {
			return types.Duration{Duration: math.MaxInt64}
		}
		return types.Duration{Duration: ageAt(t, e.now.Truncate(celTick))}
	}
}

func celCount(of func(*Facts) int) func(*evaluation) any {
	return func(e *evaluation) any { return types.Int(of(e.f)) }
}

func celString(of func(f *Facts) string) func(*evaluation) any {
	return func(e *evaluation) any { return types.String(of(e.f)) }
}

// celDevice is what is known of a device's identity by the sources that the rule believes.
func celDevice(of func(d *Device) string) func(*evaluation) any {
	return func(e *evaluation) any {
		if !e.deviceKnown() {
			return types.String("")
		}
		return types.String(of(&e.f.Device))
	}
}

func celFact(of func(d *Device) Fact[string]) func(*evaluation) any {
	return func(e *evaluation) any { return types.String(believed(of(&e.f.Device), e.demand)) }
}

func celTri(of question) func(*evaluation) any {
	return func(e *evaluation) any { return types.Bool(believed(of(&e.f.Device), e.demand) == Yes) }
}

func celList(of func(e *evaluation) []string) func(*evaluation) any {
	return func(e *evaluation) any { return types.NewStringList(types.DefaultTypeAdapter, of(e)) }
}

// celVariables is all that expressions may look at.
var celVariables = []celVariable{
	{"now", cel.TimestampType, true, func(e *evaluation) any { return types.Timestamp{Time: e.now.UTC().Truncate(celTick)} }},
	{"user", cel.StringType, false, celString(func(f *Facts) string { return f.User })},
	{"realm", cel.StringType, false, celString(func(f *Facts) string { return f.Realm })},
	{"groups", cel.ListType(cel.StringType), false, celList(func(e *evaluation) []string { return e.f.Groups })},
	{"source", cel.StringType, false, celString(func(f *Facts) string {
		if !f.Source.IsValid() {
			return ""
		}
		return f.Source.Unmap().WithZone("").String()
	})},
	{"country", cel.StringType, false, celString(func(f *Facts) string { return f.Country })},
	{"asn", cel.IntType, false, celCount(func(f *Facts) int { return int(f.ASN) })},
	{"nas", cel.StringType, false, celString(func(f *Facts) string { return f.NAS })},
	{"nas_address", cel.StringType, false, celString(func(f *Facts) string {
		if !f.NASAddress.IsValid() {
			return ""
		}
		return f.NASAddress.Unmap().WithZone("").String()
	})},
	{"node", cel.BoolType, false, func(e *evaluation) any { return types.Bool(e.f.Node) }},
	{"tunnel", cel.StringType, false, celString(func(f *Facts) string { return f.Tunnel })},
	{"client", cel.StringType, false, celString(func(f *Facts) string { return f.ClientName })},
	{"client_version", cel.StringType, false, celString(func(f *Facts) string { return f.ClientVersion })},
	{"key", cel.StringType, false, celString(func(f *Facts) string { return f.Key.String() })},
	{"factor", cel.StringType, false, celString(func(f *Facts) string { return f.Given.String() })},
	{"last_success", cel.DurationType, true, celAge(lastSuccess)},
	{"risk.user_failures", cel.IntType, false, celCount(userFailures)},
	{"risk.source_failures", cel.IntType, false, celCount(sourceFailures)},
	{"risk.source_users", cel.IntType, false, celCount(sourceUsers)},
	{"risk.code_failures", cel.IntType, false, celCount(codeFailures)},
	{"device.known", cel.BoolType, false, func(e *evaluation) any { return types.Bool(e.deviceKnown()) }},
	{"device.id", cel.StringType, false, celDevice(func(d *Device) string { return d.ID })},
	{"device.name", cel.StringType, false, celDevice(func(d *Device) string { return d.Name })},
	{"device.owned", cel.BoolType, false, celTri(deviceOwned)},
	{"device.join", cel.StringType, false, celDevice(func(d *Device) string { return d.Join })},
	{"device.confidence", cel.StringType, false, func(e *evaluation) any { return types.String(e.confidence.String()) }},
	{"device.report_age", cel.DurationType, true, celAge(deviceReported)},
	{"device.groups", cel.ListType(cel.StringType), false, celList(func(e *evaluation) []string {
		if e.demand > Directory {
			return nil
		}
		return e.f.Device.Groups
	})},
	{"device.os", cel.StringType, false, celFact(func(d *Device) Fact[string] { return d.OS })},
	{"device.os_version", cel.StringType, false, celFact(func(d *Device) Fact[string] { return d.OSVersion })},
	{"device.managed", cel.BoolType, false, celTri(deviceManaged)},
	{"device.compliant", cel.BoolType, false, celTri(deviceCompliant)},
	{"device.disk_encrypted", cel.BoolType, false, celTri(deviceEncrypted)},
	{"device.firewall", cel.BoolType, false, celTri(deviceFirewall)},
	{"device.antivirus", cel.BoolType, false, celTri(deviceAntivirus)},
	{"device.screen_lock", cel.BoolType, false, celTri(deviceLock)},
	{"device.enabled", cel.BoolType, false, celTri(deviceEnabled)},
	{"device.patch_age", cel.DurationType, true, celAge(devicePatched)},
	{"device.uptime", cel.DurationType, true, celAge(deviceBooted)},
	{"device.last_logon_age", cel.DurationType, true, celAge(deviceLastLogon)},
	{"device.unknown", cel.ListType(cel.StringType), false, celList((*evaluation).unknown)},
}

// unknown are the facts about the device that are not known, by their names without
// device in front.
func (e *evaluation) unknown() (names []string) {
	d := &e.f.Device
	for _, q := range []struct {
		name string
		none bool
	}{
		{"owned", believed(deviceOwned(d), e.demand) == Unknown}, {"join", !e.deviceKnown() || d.Join == ""},
		{"report_age", deviceReported(e.f, e.demand).IsZero()}, {"groups", e.demand > Directory || len(d.Groups) == 0},
		{"os", believed(d.OS, e.demand) == ""}, {"os_version", believed(d.OSVersion, e.demand) == ""},
		{"managed", believed(d.Managed, e.demand) == Unknown}, {"compliant", believed(d.Compliant, e.demand) == Unknown},
		{"disk_encrypted", believed(d.Encrypted, e.demand) == Unknown}, {"firewall", believed(d.Firewall, e.demand) == Unknown},
		{"antivirus", believed(d.Antivirus, e.demand) == Unknown}, {"screen_lock", believed(d.Lock, e.demand) == Unknown},
		{"enabled", believed(d.Enabled, e.demand) == Unknown}, {"patch_age", devicePatched(e.f, e.demand).IsZero()},
		{"uptime", deviceBooted(e.f, e.demand).IsZero()}, {"last_logon_age", deviceLastLogon(e.f, e.demand).IsZero()},
	} {
		if q.none {
			names = append(names, q.name)
		}
	}
	return names
}

var celIndex = sync.OnceValue(func() map[string]*celVariable {
	index := make(map[string]*celVariable, len(celVariables))
	for i := range celVariables {
		index[celVariables[i].name] = &celVariables[i]
	}
	return index
})

// celEnv is made when the first policy uses an expression, and only then.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ParserRecursionLimit(64), cel.ParserExpressionSizeLimit(maxExpression), cel.ParserErrorRecoveryLimit(4),
		cel.RegexProgramSizeLimit(1000), cel.EagerlyValidateDeclarations(true), cel.DefaultUTCTimeZone(true),
		cel.Function("atLeast", cel.MemberOverload("string_at_least_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(versionAtLeast))),
	}
	for _, v := range celVariables {
		opts = append(opts, cel.Variable(v.name, v.kind))
	}
	return cel.NewEnv(opts...)
})

// Parent and ResolveName make an evaluation what expressions look their names up in.
func (e *evaluation) Parent() cel.Activation { return nil }

func (e *evaluation) ResolveName(name string) (any, bool) {
	v := celIndex()[strings.TrimPrefix(name, ".")]
	if v == nil {
		return nil, false
	}
	return v.value(e), true
}

func readCEL(r *reader, n ast.Node) (m matcher) {
	s, ok := r.text(n, expectCEL)
	if !ok {
		return nil
	}
	env, err := celEnv()
	if err != nil {
		r.fail(position(n), "", "this program's CEL is not in order: %v", err)
		return nil
	}
	if len(s) > maxExpression {
		r.fail(position(n), fmt.Sprintf("at most %d octets, or conditions of its own", maxExpression), "an expression of %d octets", len(s))
		return nil
	}
	defer func() {
		// The compiler is somebody else's; a file must not be able to end us.
		if p := recover(); p != nil {
			r.fail(position(n), "", "in CEL: the compiler gave up (%v)", p)
			m = nil
		}
	}()
	checked, issues := env.Compile(s)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			pos := r.inside(n, s, e.Location.Line(), e.Location.Column())
			r.fail(pos, expectCEL, "in CEL: %s", celMessage(e.Message))
		}
		return nil
	}
	if checked.OutputType() != cel.BoolType {
		r.fail(position(n), expectCEL, "an expression of type %s", cel.FormatCELType(checked.OutputType()))
		return nil
	}
	estimate, err := env.EstimateCost(checked, celSizes{})
	if err != nil || estimate.Max > maxCost {
		r.fail(position(n), fmt.Sprintf("an expression of cost %d at most", maxCost), "an expression that may cost %s: what it looks at is too long, or nested", costText(estimate.Max))
		return nil
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		r.fail(position(n), expectCEL, "in CEL: %s", celMessage(err.Error()))
		return nil
	}
	timed := false
	for _, ref := range checked.NativeRep().ReferenceMap() {
		if v := celIndex()[ref.Name]; v != nil && v.timed {
			timed = true
		}
	}
	return isTrue{program, timed}
}

func costText(max uint64) string {
	if max > 1_000_000_000 {
		return "more than a billion"
	}
	return fmt.Sprint(max)
}

// celMessage is a message of CEL's on one line.
func celMessage(s string) string {
	return clipped(strings.ReplaceAll(strings.Join(strings.Fields(s), " "), " (in container '')", ""), 200)
}

func clipped(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// celSizes says how long facts are at most.
type celSizes struct{}

func (celSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (celSizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	switch n.Type().Kind() { //nolint:exhaustive // other facts have no size
	case types.ListKind:
		return &cost.SizeEstimate{Max: celGroups}
	case types.StringKind:
		return &cost.SizeEstimate{Max: celText}
	}
	return nil
}

func (m isTrue) match(e *evaluation) bool {
	out, _, err := m.program.Eval(e)
	if err != nil {
		e.fault = celMessage("cel: " + err.Error())
		return false
	}
	return out == types.True
}

// next is when the clock that expressions see goes on.
func (m isTrue) next(e *evaluation) (never time.Time) {
	if !m.timed || e.now.IsZero() {
		return never
	}
	return e.now.Truncate(celTick).Add(celTick)
}

// versionAtLeast is device.os_version.atLeast("10.0.19045"): of what is no version it is
// false.
func versionAtLeast(have, want celref.Val) celref.Val {
	bound, err := parseVersionBound(string(want.(types.String)))
	if err != nil || bound.comparator != equal {
		return types.NewErr("%q is no version", want)
	}
	order, ok := compareVersion(string(have.(types.String)), bound.bound)
	return types.Bool(ok && order >= 0)
}

// lastCEL puts expressions behind the other clauses: those are cheaper, and what they do
// not let through cannot fail.
func lastCEL(cs []clause) {
	slices.SortStableFunc(cs, func(a, b clause) int {
		return map[bool]int{true: 1}[a.key == "cel"] - map[bool]int{true: 1}[b.key == "cel"]
	})
}
