package authz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/authz/directory"
)

// seeded is a directory that keeps seeds.
type seeded struct {
	directory.Directory
	of map[string][]string
}

func (s seeded) Find(ctx context.Context, n directory.Name) (*directory.Account, error) {
	a, err := s.Directory.Find(ctx, n)
	if err == nil {
		a.Seeds = directory.NewSeeds(s.of[a.Name])
	}
	return a, err
}

const directorySeed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// seedWorld has seeds in the directory for those who have no token in the store.
func seedWorld(t testing.TB) (w *world, of map[string][]string) {
	t.Helper()
	w, of = carryWorld(t), make(map[string][]string)
	for name, p := range people {
		if !p.enrolled {
			of[name], w.secrets[name] = []string{directorySeed}, directorySeed
		}
	}
	w.dir.Directory = seeded{w.dir.Directory, of}
	return w, of
}

// TestSeedsOfTheDirectory: whoever has a seed there has a token, wherever a code may come.
func TestSeedsOfTheDirectory(t *testing.T) {
	for _, tt := range []struct {
		about string
		do    func(t *testing.T, w *world)
	}{
		{"behind the name, once", func(t *testing.T, w *world) {
			w.login(t, Permitted, w.with(t, "rex", 0))
			w.login(t, CodeReplayed, w.with(t, "rex", 0))
			w.login(t, CodeReplayed, w.with(t, "rex", -1))
			w.login(t, Permitted, w.with(t, "rex", 1))
		}},
		{"a wrong one", func(t *testing.T, w *world) {
			w.login(t, CodeWrong, w.dial("rex+000000", "rex"))
			if n := w.codeFailures(t, "rex"); n != 1 {
				t.Errorf("%d failures", n)
			}
		}},
		{"a name that the directory spells otherwise", func(t *testing.T, w *world) {
			w.dir.rename["rex"] = "rexford"
			w.login(t, Permitted, w.with(t, "rex", 0))
			w.login(t, CodeReplayed, w.with(t, "rex", 0))
		}},
		{"asked again", func(t *testing.T, w *world) { w.login(t, RetryAsked, w.dial("ted", "ted")) }},
		{"a challenge", func(t *testing.T, w *world) {
			w.login(t, Permitted, w.challenged(t, "pia", w.code(t, "pia", 0)))
		}},
		{"behind the password", func(t *testing.T, w *world) {
			r := w.pap("pat", password("pat")+w.code(t, "pat", 0))
			r.CodeInPassword = true
			w.login(t, Permitted, r)
		}},
		{"a step-up", func(t *testing.T, w *world) {
			rec, _ := w.held(t, "rex")
			w.stepUp(t, CodeWrong, StepUp{Session: rec.ID, User: "rex", Code: "000000"})
			code := w.code(t, "rex", 0)
			w.stepUp(t, Permitted, StepUp{Session: rec.ID, User: "rex", Code: code})
			w.login(t, CodeReplayed, w.dial("rex+"+code, "rex"))
		}},
		{"remembered", func(t *testing.T, w *world) {
			w.login(t, Permitted, w.with(t, "rex", 0))
			w.login(t, Permitted, w.dial("rex", "rex"))
			if w.last().Factor != FactorRemembered {
				t.Errorf("factor %v", w.last().Factor)
			}
			var listed []string
			err := w.cfg.MFA.Users(context.Background(), func(user string) error {
				listed = append(listed, user)
				return nil
			})
			if err != nil || !slices.Contains(listed, "rex") {
				t.Errorf("listed are %q, %v", listed, err)
			}
		}},
		{"the portal", func(t *testing.T, w *world) {
			form := SignIn{Name: "rex", Password: []byte(password("rex")), From: phone}
			if r := w.SignIn(context.Background(), form); r.Reason != CodeMissing || !r.Enrolled {
				t.Errorf("without a code: %+v", r)
			}
			form.Code, form.Password = w.code(t, "rex", 0), []byte(password("rex"))
			if r := w.SignIn(context.Background(), form); r.Reason != Permitted || r.Factor != FactorCode {
				t.Errorf("with a code: %+v", r)
			}
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w, _ := seedWorld(t)
			tt.do(t, w)
		})
	}
}

// A seed that cannot be used opens nothing and excuses nobody; somebody is told, when it
// begins and not at every login, and not what it is.
func TestSeedsThatCannotBeUsed(t *testing.T) {
	w, of := seedWorld(t)
	var log bytes.Buffer
	w.mistakes.log = slog.New(slog.NewTextHandler(&log, nil))
	told := func(want int) {
		t.Helper()
		text := log.String()
		if n := strings.Count(text, "level=WARN"); n != want || strings.Contains(text, directorySeed[:10]) || want > 0 && !strings.Contains(text, "user=rex") {
			t.Errorf("told %d times, want %d: %s", n, want, text)
		}
		log.Reset()
	}
	w.login(t, Permitted, w.with(t, "rex", 0))
	told(0)
	of["rex"] = []string{directorySeed + "!"}
	w.login(t, CodeWrong, w.with(t, "rex", 1))
	told(1)
	w.login(t, CodeWrong, w.with(t, "rex", 1))
	told(0)
	if r := w.SignIn(context.Background(), SignIn{Name: "rex", Password: []byte(password("rex")), From: phone}); r.Reason != CodeMissing || !r.Enrolled {
		t.Errorf("at the portal: %+v", r)
	}
	of["rex"] = []string{directorySeed, "v1.k9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	w.login(t, Permitted, w.with(t, "rex", 1))
	told(1)
	of["rex"] = []string{directorySeed}
	w.sleep(time.Minute)
	w.login(t, Permitted, w.with(t, "rex", 0))
	told(0)
	of["rex"] = []string{directorySeed, "v1.k9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	w.sleep(time.Minute)
	w.login(t, Permitted, w.with(t, "rex", 0))
	told(1)

	m := &mistakes{log: slog.New(slog.DiscardHandler)}
	for i := range 3 * maxMistakes {
		m.tell(fmt.Sprint("user", i), errors.New("seed 1 of 1"))
	}
	if len(m.told) > maxMistakes {
		t.Errorf("%d are remembered", len(m.told))
	}
}

func TestSeeds(t *testing.T) {
	w, of := seedWorld(t)
	of["rex"] = []string{"nonsense", directorySeed}
	for user, want := range map[string]int{"rex": 2, "ruth": 0, "nobody": 0} {
		if n, err := w.Seeds(context.Background(), user); n != want || err != nil {
			t.Errorf("%s: %d, %v", user, n, err)
		}
	}
	w.dir.findErr = directory.Unavailable{Doing: "dial", Err: errors.New("test")}
	if _, err := w.Seeds(context.Background(), "rex"); err == nil {
		t.Error("none, without a directory")
	}
}
