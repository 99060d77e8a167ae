package authz

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
	"postern/authz/session"
	"postern/internal/store/storetest"
	"postern/policy"
)

const carryPolicy = `version: 1
lists: {blocked: [203.0.113.0/24]}
pools: {staff: [10.20.0.0/16]}
rules:
  - {id: blocked, when: {source: blocked}, then: deny}
  - id: roam
    when: {group: Roamers}
    then:
      permit:
        pool: staff
        dns: [10.20.0.53]
        filter: f2
        bandwidth: {up: 2M, down: 10M}
        session_timeout: 8h
        carriers: [inline, remembered, quarantine]
        remember: {for: 12h, idle: 2h}
        quarantine: 3m
  - {id: device, when: {group: Devices}, then: {permit: {pool: staff, carriers: [inline, remembered], remember: {for: 12h, prefix: 24, device: true}}}}
  - {id: retry, when: {group: Retriers}, then: {permit: {pool: staff, carriers: [retry, quarantine]}}}
  - {id: retryonly, when: {group: OnlyRetry}, then: {permit: {pool: staff, carriers: retry}}}
  - {id: retrychange, when: {group: RetryChange}, then: {permit: {pool: staff, carriers: retry, password_change: true}}}
  - {id: challenge, when: {group: Challenged}, then: {permit: {pool: staff, carriers: [challenge, quarantine]}}}
  - {id: password, when: {group: Passwords}, then: {permit: {pool: staff, carriers: [password, remembered], remember: {for: 1h}}}}
  - {id: portal, when: {group: Portal}, then: {permit: {pool: staff, carriers: quarantine}}}
  - {id: key, when: {group: Keys}, then: {permit: {pool: staff, factor: webauthn, carriers: [remembered, quarantine], remember: {for: 12h}}}}
  - {id: plain, when: {group: Plain}, then: {permit: {pool: staff}}}
  - {id: free, when: {group: Free}, then: {permit: {pool: staff, factor: none}}}
`

const portalURL = "https://portal.example"

// people of the policy above, with their group and whether they have a token.
var people = map[string]struct {
	group    string
	enrolled bool
}{
	"ruth": {"Roamers", true}, "rex": {"Roamers", false}, "dev": {"Devices", true}, "tina": {"Retriers", true}, "ted": {"Retriers", false},
	"otto": {"OnlyRetry", true}, "olga": {"RetryChange", true}, "paul": {"Challenged", true}, "pia": {"Challenged", false}, "pam": {"Passwords", true}, "pat": {"Passwords", false},
	"quin": {"Portal", true}, "kim": {"Keys", true}, "ines": {"Plain", true}, "frei": {"Free", true},
}

// carryWorld is a world with a portal and that policy.
func carryWorld(t testing.TB) *world {
	t.Helper()
	return carryWorldOn(t, storetest.Embedded(t))
}

func carryWorldOn(t testing.TB, b storetest.Backend) *world {
	t.Helper()
	w := newWorldOn(t, b)
	for name, p := range people {
		must(t, w.users.Add(directory.User{Name: name, Groups: []string{p.group}}, password(name)))
		if p.enrolled {
			e, err := w.mfa.Enroll(context.Background(), w.now, name, "phone")
			must(t, err)
			w.secrets[name] = e.Secret
		}
	}
	must(t, w.file.Reload())
	p, err := policy.Load("policy.yaml", []byte(carryPolicy))
	must(t, err)
	w.cfg.Ring, w.cfg.Portal = w.ring, portalURL+"/"
	must(t, w.SetPolicy(p))
	return w
}

// dial is a login through a node of ours.
func (w *world) dial(typed, user string) *Request {
	r := w.request(typed, password(user))
	r.Node, r.ClientName = true, "PC1"
	return r
}

// with is a login with a code behind the name.
func (w *world) with(t testing.TB, user string, steps int) *Request {
	return w.dial(user+"+"+w.code(t, user, steps), user)
}

// record is the session that a login opened.
func (w *world) record(t testing.TB, r *Request) session.Record {
	t.Helper()
	rec, found, err := w.sessions.Get(context.Background(), session.ID(r.NAS.Node(), r.SessionID))
	must(t, err)
	if !found {
		t.Fatal("no session")
	}
	return rec
}

// TestCarriers: what becomes of a login whose password is right, by its rule's carriers,
// by who asks, and by what comes along.
func TestCarriers(t *testing.T) {
	off := func(f func(*Request)) func(*Request) { return f }
	code := func(user string) func(*testing.T, *world) *Request {
		return func(t *testing.T, w *world) *Request { return w.with(t, user, 0) }
	}
	none := func(user string) func(*testing.T, *world) *Request {
		return func(_ *testing.T, w *world) *Request { return w.dial(user, user) }
	}
	pap := func(user, behind string) func(*testing.T, *world) *Request {
		return func(t *testing.T, w *world) *Request {
			r := w.pap(user, password(user)+strings.ReplaceAll(behind, "CODE", w.secretCode(t, user)))
			r.CodeInPassword = true
			return r
		}
	}
	for _, tt := range []struct {
		about   string
		request func(*testing.T, *world) *Request
		change  func(*Request)
		world   func(*world)
		want    Reason
		factor  Factor
	}{
		{about: "inline", request: code("ruth"), want: Permitted, factor: FactorCode},
		{about: "quarantine", request: none("ruth"), want: Quarantined},
		{about: "quarantine, and a token to be enrolled there", request: none("rex"), want: Quarantined},
		{about: "no node of ours", request: none("ruth"), change: off(func(r *Request) { r.Node = false }), want: CodeMissing},
		{about: "no node of ours, and no token", request: none("rex"), change: off(func(r *Request) { r.Node = false }), want: NotEnrolled},
		{about: "a node without a tunnel", request: none("ruth"), change: off(func(r *Request) { r.Tunnel = "" }), want: CodeMissing},
		{about: "a session without a name", request: none("ruth"), change: off(func(r *Request) { r.SessionID = "" }), want: CodeMissing},
		{about: "a name that fits no URL", request: none("ruth"), change: off(func(r *Request) { r.SessionID = strings.Repeat("x", 200) }), want: CodeMissing},
		{about: "no portal", request: none("ruth"), world: func(w *world) { w.cfg.Portal = "" }, want: CodeMissing},
		{about: "no key ring", request: none("ruth"), world: func(w *world) { w.cfg.Ring = nil }, want: CodeMissing},
		{about: "a blocked source", request: none("ruth"), change: off(func(r *Request) { r.Source = blocked }), want: SourceDenied},
		{about: "an expired password is not let in anywhere", request: none("ruth"), world: func(w *world) { w.dir.state["ruth"] = directory.PasswordExpired }, want: PasswordExpired},
		{about: "nor a disabled account", request: none("ruth"), world: func(w *world) { w.dir.state["ruth"] = directory.Disabled }, want: AccountDisabled},

		{about: "an inline code does not count here", request: code("quin"), want: Quarantined},
		{about: "but a wrong one refuses", request: func(t *testing.T, w *world) *Request {
			return w.dial("quin+"+wrong(w.code(t, "quin", 0)), "quin")
		}, want: CodeWrong},
		{about: "and where there is no way it is as none", request: code("quin"), change: off(func(r *Request) { r.Node = false }), want: CodeMissing},
		{about: "no carrier named: inline alone", request: code("ines"), want: Permitted, factor: FactorCode},
		{about: "no carrier named: no quarantine", request: none("ines"), want: CodeMissing},
		{about: "no factor demanded", request: none("frei"), want: Permitted},
		{about: "no factor demanded, one given", request: code("frei"), want: Permitted, factor: FactorCode},

		{about: "retry", request: none("tina"), want: RetryAsked},
		{about: "retry takes codes behind the name", request: code("tina"), want: Permitted, factor: FactorCode},
		{about: "retry needs a token", request: none("ted"), want: Quarantined},
		{about: "retry needs a dialogue", request: none("otto"), change: off(func(r *Request) { r.SessionID = "" }), want: CodeMissing},
		{about: "retry needs MS-CHAP-V2", request: pap("otto", ""), want: CodeMissing},
		{about: "retry for a password that has expired", request: none("otto"), world: func(w *world) { w.dir.state["otto"] = directory.PasswordExpired }, want: PasswordExpired},
		{about: "retry for one that may be changed then", request: none("olga"), world: func(w *world) { w.dir.state["olga"] = directory.PasswordExpired }, want: RetryAsked},

		{about: "challenge", request: pap("paul", ""), want: Challenged},
		{about: "challenge needs PAP", request: none("paul"), want: Quarantined},
		{about: "challenge needs a token", request: pap("pia", ""), want: NotEnrolled},
		{about: "challenge needs a key ring", request: pap("paul", ""), world: func(w *world) { w.cfg.Ring = nil }, want: CodeMissing},
		{about: "challenge not for an expired password", request: pap("paul", ""), world: func(w *world) { w.dir.state["paul"] = directory.PasswordExpired }, want: PasswordExpired},
		{about: "challenge where a code behind the name does not count", request: func(t *testing.T, w *world) *Request {
			return w.pap("paul+"+w.code(t, "paul", 0), password("paul"))
		}, want: Challenged},

		{about: "code behind the password", request: pap("pam", "CODE"), want: Permitted, factor: FactorCode},
		{about: "a wrong one", request: pap("pam", "000000"), want: CodeWrong},
		{about: "none", request: pap("pam", ""), want: CodeMissing},
		{about: "from a client that has none there", request: pap("pam", "CODE"), change: off(func(r *Request) { r.CodeInPassword = false }), want: WrongPassword},
		{about: "of somebody without a token", request: pap("pat", "123456"), want: WrongPassword},
		{about: "a password that is too short for it", request: pap("pam", ""), change: off(func(r *Request) { r.Password = []byte("123456") }), want: WrongPassword},
		{about: "a code behind the name goes first", request: func(t *testing.T, w *world) *Request {
			r := w.pap("pam+"+w.code(t, "pam", 0), password("pam"))
			r.CodeInPassword = true
			return r
		}, want: CodeMissing},
		{about: "behind the password where that does not count", request: pap("ines", "CODE"), want: CodeMissing},
		{about: "MS-CHAP-V2 has no such thing", request: none("pam"), change: off(func(r *Request) { r.CodeInPassword = true }), want: CodeMissing},

		{about: "a key", request: none("kim"), want: Quarantined},
		{about: "a code is no key", request: code("kim"), want: Quarantined},
		{about: "a key cannot be given", request: none("kim"), change: off(func(r *Request) { r.Node = false }), want: FactorTooWeak},
		{about: "a code is too weak", request: code("kim"), change: off(func(r *Request) { r.Node = false }), want: FactorTooWeak},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := carryWorld(t)
			r := tt.request(t, w)
			if tt.change != nil {
				tt.change(r)
			}
			if tt.world != nil {
				tt.world(w)
			}
			w.broken.trips = 0
			res := w.login(t, tt.want, r)
			if res.Verdict == Accept != (w.last().Addr.IsValid()) || w.last().Factor != tt.factor || w.last().Reason != tt.want {
				t.Errorf("%v, record %+v", res.Verdict, w.last())
			}
			if w.broken.trips > 2 {
				t.Errorf("%d trips", w.broken.trips)
			}
			if (res.State != nil) != (tt.want == Challenged) || res.Retry != (tt.want == RetryAsked) || (res.Grant.Quarantine.URL != "") != (tt.want == Quarantined) {
				t.Errorf("%+v", res)
			}
		})
	}
}

// secretCode is a user's code, or none.
func (w *world) secretCode(t testing.TB, user string) string {
	if w.secrets[user] == "" {
		return ""
	}
	return w.code(t, user, 0)
}

// A session in quarantine has all that its rule gives, but for the filter, and a page of
// its own in the portal.
func TestQuarantined(t *testing.T) {
	w := carryWorld(t)
	r := w.dial("ruth", "ruth")
	res := w.login(t, Quarantined, r)
	g := &res.Grant
	if res.Verdict != Accept || g.Filter != "quarantine" || g.Rules != nil || g.Quarantine.For != 3*time.Minute || !g.Addr.IsValid() || len(g.DNS) != 1 ||
		g.Bandwidth != (policy.Bandwidth{Up: 2_000_000, Down: 10_000_000}) || g.SessionTimeout != 8*time.Hour || res.Success == "" {
		t.Errorf("grant %+v", g)
	}
	if !strings.HasPrefix(g.Quarantine.URL, portalURL+"/s/v1.") || len(g.Quarantine.URL) > maxURL {
		t.Errorf("URL %q", g.Quarantine.URL)
	}
	rec := w.record(t, r)
	if !rec.Quarantine.Equal(w.now.Add(3*time.Minute)) || rec.Factor != "none" || rec.Demands != "code" || rec.Rule != "roam" {
		t.Errorf("session %+v", rec)
	}
	// Without one in the rule the service's own time counts.
	if res := w.login(t, Quarantined, w.dial("quin", "quin")); res.Grant.Quarantine.For != defaultQuarantine {
		t.Errorf("%v", res.Grant.Quarantine.For)
	}
	// A factor given with the login opens at once.
	if res := w.login(t, Permitted, w.with(t, "ruth", 0)); res.Grant.Filter != "f2" || res.Grant.Quarantine != (Quarantine{}) {
		t.Errorf("grant %+v", res.Grant)
	}
	// A password that is right clears what was wrong before; the sessions count.
	if n, err := w.sessions.Count(context.Background(), "ruth"); n != 2 || err != nil {
		t.Errorf("%d sessions, %v", n, err)
	}
}

// TestRetry: the client is asked once. Asked again because the answer was lost, it gets
// the same one.
func TestRetry(t *testing.T) {
	w := carryWorld(t)
	first := w.dial("tina", "tina")
	for range 2 {
		res := w.login(t, RetryAsked, first)
		if res.Verdict != Reject || !res.Retry || res.ErrorCode != 691 || res.Message != "Enter NAME+CODE as your user name" || res.Success != "" {
			t.Errorf("%+v", res)
		}
	}
	again := func(typed string) *Request {
		r := w.dial(typed, "tina")
		r.SessionID = first.SessionID
		return r
	}
	w.login(t, Quarantined, again("tina")) // a client that answers by itself
	w.login(t, Quarantined, w.dial("tina", "tina"))
	w.login(t, CodeWrong, again("tina+"+wrong(w.code(t, "tina", 0))))
	w.login(t, Permitted, again("tina+"+w.code(t, "tina", 0)))

	// Where there is no other carrier it is refused the second time.
	only := w.dial("otto", "otto")
	w.login(t, RetryAsked, only)
	second := w.dial("otto", "otto")
	second.SessionID = only.SessionID
	if res := w.login(t, CodeMissing, second); res.Retry {
		t.Errorf("%+v", res)
	}
	w.login(t, CodeMissing, w.dial("otto", "otto")) // pppd hung up and dials again
	elsewhere := w.dial("otto", "otto")
	elsewhere.Source = netip.MustParseAddr("198.51.100.9")
	w.login(t, RetryAsked, elsewhere)
	nowhere := w.dial("otto", "otto")
	nowhere.Source = netip.Addr{}
	w.login(t, RetryAsked, nowhere)

	// It says so even to those who are told nothing else, and with their separator.
	w.sleep(dialogueLife + time.Second)
	w.cfg.Disclose, w.cfg.Separator = DiscloseNothing, '#'
	if res := w.login(t, RetryAsked, w.dial("otto", "otto")); res.Message != "Enter NAME#CODE as your user name" {
		t.Errorf("%+v", res)
	}
}

// TestRemembered: a factor that was given is not asked for again at the same place.
func TestRemembered(t *testing.T) {
	w := carryWorld(t)
	elsewhere := func(r *Request) *Request {
		r.Source = netip.MustParseAddr("198.51.100.8")
		return r
	}
	w.login(t, Permitted, w.with(t, "ruth", 0))
	r := w.dial("ruth", "ruth")
	res := w.login(t, Permitted, r)
	if a := w.last(); a.Factor != FactorRemembered || a.Kind != FactorCode || res.Grant.Filter != "f2" {
		t.Errorf("record %+v", a)
	}
	if rec := w.record(t, r); rec.Factor != "remembered" || rec.Remembered != "code" {
		t.Errorf("session %+v", rec)
	}
	w.login(t, Quarantined, elsewhere(w.dial("ruth", "ruth")))
	w.login(t, Quarantined, w.dial("rex", "rex")) // somebody else's

	// Using one is not giving one: the absolute limit is that of the code.
	for range 11 {
		w.sleep(65 * time.Minute)
		w.login(t, Permitted, w.dial("ruth", "ruth"))
	}
	w.sleep(65 * time.Minute)
	w.login(t, Quarantined, w.dial("ruth", "ruth"))

	// A new code begins a new one; without use it ends sooner.
	w.login(t, Permitted, w.with(t, "ruth", 0))
	w.sleep(2*time.Hour - time.Minute)
	w.login(t, Permitted, w.dial("ruth", "ruth"))
	w.sleep(2*time.Hour + time.Minute)
	w.login(t, Quarantined, w.dial("ruth", "ruth"))

	// Revoked, or ended by a new password.
	w.login(t, Permitted, w.with(t, "ruth", 0))
	if n, err := w.grants.RevokeAll(context.Background(), "ruth"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	w.login(t, Quarantined, w.dial("ruth", "ruth"))
	w.login(t, Permitted, w.with(t, "ruth", 1))
	w.login(t, Permitted, w.dial("ruth", "ruth"))
	w.dir.set = w.now.Add(time.Minute)
	w.sleep(2 * time.Minute)
	w.login(t, Quarantined, w.dial("ruth", "ruth"))
	w.dir.set = time.Time{}

	// A rule without the carrier neither gives nor takes any.
	w.login(t, Permitted, w.with(t, "ines", 0))
	w.login(t, CodeMissing, w.dial("ines", "ines"))

	// A rule may say how large the place is, and which device.
	w.login(t, Permitted, w.with(t, "dev", 0))
	w.login(t, Permitted, elsewhere(w.dial("dev", "dev")))
	other := w.dial("dev", "dev")
	other.ClientName = "PC2"
	w.login(t, CodeMissing, other)

	// A key is demanded: a code that is remembered is none.
	w.sleep(time.Minute)
	w.login(t, Permitted, w.with(t, "ruth", 0))
	must(t, w.users.SetGroups("ruth", []string{"Keys"}))
	must(t, w.file.Reload())
	w.login(t, Quarantined, w.dial("ruth", "ruth"))
}

// A factor that is remembered lets nobody change a password.
func TestRememberedChangesNoPassword(t *testing.T) {
	w := carryWorld(t)
	p, err := policy.Load("p", []byte(`version: 1
pools: {staff: [10.20.0.0/16]}
rules: [{id: r, then: {permit: {pool: staff, carriers: [inline, remembered], remember: {for: 12h}, password_change: true}}}]
`))
	must(t, err)
	must(t, w.SetPolicy(p))
	w.login(t, Permitted, w.with(t, "ruth", 0))
	w.login(t, Permitted, w.dial("ruth", "ruth"))
	w.dir.state["ruth"] = directory.PasswordExpired
	if res := w.login(t, PasswordExpired, w.dial("ruth", "ruth")); res.Change {
		t.Error("leave to change the password")
	}
	if res := w.login(t, PasswordExpired, w.with(t, "ruth", 1)); !res.Change {
		t.Error("no leave to change the password with a code")
	}
}

// A list of grants that nobody can read opens nothing, and does not keep anybody out who
// has a code.
func TestGrantsUnreadable(t *testing.T) {
	w := carryWorld(t)
	w.spoilGrants(t, "ruth")
	w.login(t, Quarantined, w.dial("ruth", "ruth"))
	if w.last().Err == nil {
		t.Error("not in the record")
	}
	w.login(t, Permitted, w.with(t, "ruth", 0))
}

// TestGrantRevokedMeanwhile: between a login's read and its commit.
func TestGrantRevokedMeanwhile(t *testing.T) {
	w := carryWorld(t)
	w.login(t, Permitted, w.with(t, "ruth", 0))
	calls := 0
	w.broken.hook = func() {
		if calls++; calls == 2 {
			if n, err := w.keeper().RevokeAll(context.Background(), "ruth"); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
	}
	r := w.dial("ruth", "ruth")
	res := w.login(t, Quarantined, r)
	if rec := w.record(t, r); rec.Quarantine.IsZero() || rec.Factor != "none" || !res.Grant.Addr.IsValid() {
		t.Errorf("session %+v, grant %+v", rec, res.Grant)
	}
	if a := w.last(); a.Factor != FactorNone || a.Kind != FactorNone {
		t.Errorf("record %+v", a)
	}
	// Where nothing else is left, nothing is left behind.
	w.broken.hook = nil
	w.login(t, Permitted, w.with(t, "ruth", 1))
	calls = 0
	w.broken.hook = func() {
		if calls++; calls == 2 {
			if n, err := w.keeper().RevokeAll(context.Background(), "ruth"); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
	}
	r = w.dial("ruth", "ruth")
	r.Node = false
	w.login(t, CodeMissing, r)
	if _, found, err := w.sessions.Get(context.Background(), session.ID("gw1", r.SessionID)); found || err != nil {
		t.Errorf("a session is left behind: %v", err)
	}
}

// A login whose list changes each time it looks is not decided for ever, and not let in.
func TestGrantsChangeAllTheTime(t *testing.T) {
	w := carryWorld(t)
	w.login(t, Permitted, w.with(t, "ruth", 0))
	i, calls := 0, 0
	w.broken.hook = func() {
		if calls++; calls < 2 {
			return
		}
		i++
		w.touchGrants(t, "ruth", i)
	}
	res := w.login(t, StoreDown, w.dial("ruth", "ruth"))
	if res.Verdict != Silent || w.last().Err == nil {
		t.Errorf("%+v", res)
	}
}

// TestCarryTrips: a session in quarantine, a remembered factor and a challenge cost no
// more trips to the store than any login.
func TestCarryTrips(t *testing.T) {
	w := carryWorld(t)
	for _, tt := range []struct {
		about string
		r     func() *Request
		want  Reason
	}{
		{"code, to be remembered", func() *Request { return w.with(t, "ruth", 0) }, Permitted},
		{"remembered", func() *Request { return w.dial("ruth", "ruth") }, Permitted},
		{"quarantine", func() *Request { return w.dial("quin", "quin") }, Quarantined},
		{"retry", func() *Request { return w.dial("otto", "otto") }, RetryAsked},
		{"challenge", func() *Request { return w.pap("paul", password("paul")) }, Challenged},
	} {
		r := tt.r()
		w.broken.trips = 0
		w.login(t, tt.want, r)
		if w.broken.trips != 2 {
			t.Errorf("%s: %d trips", tt.about, w.broken.trips)
		}
	}
}

func TestCounts(t *testing.T) {
	all := []policy.Carrier{policy.CarrierUnknown, policy.Inline, policy.Password, policy.Remembered, policy.Retry, policy.Challenge, policy.Quarantine}
	for _, tt := range []struct {
		named []policy.Carrier
		want  []bool
	}{
		{nil, []bool{true, true, false, false, false, false, false}},
		{[]policy.Carrier{policy.Quarantine}, []bool{true, false, false, false, false, false, false}},
		{[]policy.Carrier{policy.Retry}, []bool{true, true, false, false, false, false, false}},
		{all, []bool{true, true, true, false, false, true, false}},
	} {
		var got []bool
		for _, c := range all {
			got = append(got, counts(&policy.Obligations{Carriers: tt.named}, c))
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.named, got, tt.want)
		}
	}
	if counts(&policy.Obligations{Carriers: all}, policy.Carrier(99)) {
		t.Error(fmt.Sprint(policy.Carrier(99)), "counts")
	}
}
