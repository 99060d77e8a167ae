package ad

import "time"

// A domain controller that does not accept MS-CHAPv2 (Samba without `ntlm auth =
// mschapv2-and-ntlmv2-only`, Windows where NTLM is restricted) says so with
// WRONG_PASSWORD and counts it against the user, so that going on asking would lock
// people out who did nothing wrong. trust is the machine that notices: one for each
// domain controller, no clock and no I/O. Not safe for concurrent use.
//
//	untested ─ a right answer ─────────────→ accepts
//	untested, accepts ─ wrong for many, right for nobody → suspected
//	suspected ─ a right answer ────────────→ accepts
//	any ─ the probe's right password wrong → refuses
//	refuses ─ the probe accepted ──────────→ accepts
//
// Somebody who tries one password with many names looks the same, so suspicion must
// not keep people out: each may still try, a few times. With a probe account there
// is no suspicion, but certainty.
type trust struct {
	state   trustState
	wrong   map[string]tries // since the last right answer, by canonical name
	probes  bool             // there is a probe account, and its password is right
	probing bool             // one is on its way
	next    time.Time        // when it may be tried again; zero: now
}

// tries are the wrong answers that one user got.
type tries struct {
	n     int
	first time.Time
}

// trustState is what is believed of a domain controller.
//
// Handled in: trustNames, trust.ask, Directory.settle.
type trustState uint8

const (
	untested trustState = iota
	accepts
	suspected
	refuses
)

var trustNames = [...]string{untested: "untested", accepts: "accepted", suspected: "suspected not to be", refuses: "refused"}

func (s trustState) String() string { return trustNames[s] }

// advice is what to do with a logon.
type advice uint8

const (
	adviceRefuse advice = iota // do not ask this domain controller
	adviceAsk
	adviceProbe // try the probe account, tell with probed, and ask again
)

// Ours. The window is that of the usual lockout policies (10 to 30 minutes), the
// tries are below every sensible threshold.
const (
	suspects    = 5 // distinct users
	trustWindow = 10 * time.Minute
	tryAgain    = 2                // a suspected domain controller, for one user within the window
	probeEvery  = time.Minute      // at most, when there is a reason to
	probeRefuse = 10 * time.Minute // the probe account can be locked, too
	maxWrong    = 1024             // names remembered
)

// ask says what to do with a user's logon.
func (t *trust) ask(now time.Time, user string) advice {
	if t.probes && !t.probing && !now.Before(t.next) && (t.state == untested || t.state == refuses || t.many(now)) {
		t.probing = true
		return adviceProbe
	}
	switch t.state {
	case refuses:
		return adviceRefuse
	case suspected:
		if w := t.wrong[user]; w.n >= tryAgain && now.Sub(w.first) < trustWindow {
			return adviceRefuse
		}
	case untested, accepts:
	}
	return adviceAsk
}

// right notes that the domain controller took a response for right.
func (t *trust) right() { t.state, t.wrong = accepts, nil }

// refused notes a wrong password of somebody who exists.
func (t *trust) refused(now time.Time, user string) {
	if t.wrong == nil {
		t.wrong = make(map[string]tries)
	}
	w, known := t.wrong[user]
	if !known && len(t.wrong) >= maxWrong {
		t.forget(now)
		if len(t.wrong) >= maxWrong {
			return // suspicious enough
		}
	}
	if now.Sub(w.first) >= trustWindow {
		w = tries{first: now}
	}
	w.n++
	t.wrong[user] = w
	if t.state != refuses && !t.probes && t.many(now) {
		t.state = suspected
	}
}

// many says whether it went wrong for many and right for nobody.
func (t *trust) many(now time.Time) bool {
	if len(t.wrong) < suspects {
		return false
	}
	t.forget(now)
	return len(t.wrong) >= suspects
}

// forget drops what is older than the window.
func (t *trust) forget(now time.Time) {
	for user, w := range t.wrong {
		if now.Sub(w.first) >= trustWindow {
			delete(t.wrong, user)
		}
	}
}

// probeResult is what a probe told.
type probeResult uint8

const (
	probeNothing  probeResult = iota // no answer, or one that means something else: locked, disabled
	probeAccepted                    // the domain controller takes MS-CHAPv2
	probeRefused                     // the password is right, and was wrong for MS-CHAPv2
	probeWrong                       // the password is wrong
)

// probed notes the end of a probe.
func (t *trust) probed(now time.Time, r probeResult) {
	t.probing = false
	t.next = now.Add(probeEvery)
	switch r {
	case probeAccepted:
		t.right()
	case probeRefused:
		t.state, t.next = refuses, now.Add(probeRefuse)
	case probeWrong:
		// Without a probe there is suspicion only. Each try counts against the account.
		t.next = now.Add(probeRefuse)
		if t.state != refuses && t.many(now) {
			t.state = suspected
		}
	case probeNothing:
		if t.state == refuses {
			t.next = now.Add(probeRefuse)
		} else if t.many(now) {
			t.state = suspected
		}
	}
}
