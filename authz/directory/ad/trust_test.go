package ad

import (
	"fmt"
	"testing"
	"time"
)

// spray gives n users a wrong answer each, as long as the machine lets them.
func spray(tr *trust, now time.Time, n int) (asked int) {
	for i := range n {
		user := fmt.Sprint("user", i)
		if tr.ask(now, user) == adviceAsk {
			tr.refused(now, user)
			asked++
		}
	}
	return asked
}

func TestTrustSuspects(t *testing.T) {
	tr := new(trust)
	now := testNow
	for range 4 {
		for range 20 { // one user who guesses raises no suspicion
			if tr.ask(now, "mallory") != adviceAsk {
				t.Fatal("refused for one user's failures")
			}
			tr.refused(now, "mallory")
		}
	}
	spray(tr, now, suspects-1)
	if tr.state != suspected {
		t.Fatalf("%v after %d users", tr.state, suspects)
	}
	// Everybody may still try, but nobody often enough to be locked out.
	if tr.ask(now, "alice") != adviceAsk {
		t.Error("alice may not try")
	}
	tr.refused(now, "alice")
	if tr.ask(now, "alice") != adviceAsk {
		t.Error("alice may not try again")
	}
	tr.refused(now, "alice")
	if tr.ask(now, "alice") != adviceRefuse {
		t.Error("alice may try until she is locked out")
	}
	if tr.ask(now, "bob") != adviceAsk {
		t.Error("bob pays for alice")
	}
	if tr.ask(now.Add(trustWindow), "alice") != adviceAsk {
		t.Error("alice may not try later")
	}
	// One right answer settles it for all.
	tr.right()
	if tr.state != accepts || tr.ask(now, "alice") != adviceAsk || tr.ask(now, "mallory") != adviceAsk {
		t.Errorf("%v after a right answer", tr.state)
	}
}

func TestTrustForgets(t *testing.T) {
	tr := new(trust)
	for i := range 10 * suspects { // wrong passwords of every day, one every few minutes
		now := testNow.Add(time.Duration(i) * trustWindow / (suspects - 1))
		tr.refused(now, fmt.Sprint("user", i))
		if tr.state != untested {
			t.Fatalf("%v after %d", tr.state, i)
		}
	}
	for i := range 10 * maxWrong {
		tr.refused(testNow, fmt.Sprint("name", i))
	}
	if len(tr.wrong) > maxWrong {
		t.Errorf("%d names kept", len(tr.wrong))
	}
}

func TestTrustProbes(t *testing.T) {
	now := testNow
	tr := &trust{probes: true}
	// Nobody is asked for before the probe.
	if tr.ask(now, "alice") != adviceProbe {
		t.Fatal("no probe at first")
	}
	if tr.ask(now, "bob") != adviceAsk {
		t.Error("two probes at once, or waiting for one")
	}
	tr.probed(now, probeRefused)
	if tr.state != refuses || tr.ask(now, "alice") != adviceRefuse {
		t.Errorf("%v: a user's logon may be tried", tr.state)
	}
	if tr.ask(now.Add(probeRefuse-1), "alice") != adviceRefuse {
		t.Error("probes too often: the probe account will be locked")
	}
	now = now.Add(probeRefuse)
	if tr.ask(now, "alice") != adviceProbe {
		t.Error("never looks again")
	}
	tr.probed(now, probeNothing) // locked meanwhile
	if tr.state != refuses {
		t.Errorf("%v without an answer", tr.state)
	}
	now = now.Add(probeRefuse)
	tr.ask(now, "alice")
	tr.probed(now, probeAccepted)
	if tr.state != accepts || tr.ask(now, "alice") != adviceAsk {
		t.Errorf("%v after the probe was accepted", tr.state)
	}

	// A guesser with many names makes it look again, and changes nothing.
	now = now.Add(time.Hour)
	spray(tr, now, suspects)
	if tr.state != accepts {
		t.Errorf("%v, and there is a probe to ask", tr.state)
	}
	if tr.ask(now, "alice") != adviceProbe {
		t.Error("no probe though it went wrong for many")
	}
	tr.probed(now, probeAccepted)
	spray(tr, now, suspects)
	if tr.ask(now, "alice") == adviceProbe {
		t.Error("a guesser makes us probe without end")
	}
}

func TestTrustWithBrokenProbe(t *testing.T) {
	for _, r := range []probeResult{probeWrong, probeNothing} {
		tr := &trust{probes: true}
		tr.ask(testNow, "alice")
		tr.probed(testNow, r)
		if tr.state != untested || tr.ask(testNow, "alice") != adviceAsk {
			t.Errorf("%v: %v: our own mistake keeps people out", r, tr.state)
		}
		spray(tr, testNow, suspects)
		later := testNow.Add(probeEvery)
		if r == probeWrong {
			later = testNow.Add(probeRefuse - 1)
			if tr.ask(later, "alice") == adviceProbe {
				t.Error("a wrong password is tried again soon")
			}
			continue
		}
		if tr.ask(later, "alice") != adviceProbe {
			t.Error("does not try again")
		}
		tr.probed(later, r)
		if tr.state != suspected {
			t.Errorf("%v without an answer, and it went wrong for many", tr.state)
		}
	}
}
