package portal

import (
	"strings"
	"testing"
)

// A session that its rule isolates stays where it is when its factor was given: the
// visitor is told what is missing, in the words of the rule's author, and is let go when
// the device has reported.
func TestIsolated(t *testing.T) {
	for _, tt := range []struct{ lang, also, first, says, home string }{
		{"en", "Your device must report as well.", "Your device must report first", "Your organisation says:", "Waits for a report of the device"},
		{"de", "Auch Ihr Gerät muss sich melden.", "Ihr Gerät muss sich zuerst melden", "Ihre Organisation teilt mit:", "Wartet auf eine Meldung des Geräts"},
	} {
		s := newSite(t)
		alice := s.fake.add("alice")
		v := s.fake.hold("alice", "ref-1", "198.51.100.7")
		v.Isolated, v.Waits = true, true
		v.Session.Banner = `Patch "it" <script>alert(1)</script> & dial again`
		b := s.browser()
		b.lang = tt.lang
		b.get("/s/ref-1").at("/step-up", 200, tt.also, tt.says, v.Session.Banner)
		if strings.Contains(b.body, "<script>alert") {
			t.Error("the banner is not escaped")
		}
		b.submit("/step-up", "code", "123456").at("/step-up", 200, tt.first, tt.says, v.Session.Banner, "198.51.100.7")
		if strings.Contains(b.body, "<script>alert") || b.find("/step-up") != nil || !strings.Contains(b.body, `data-again="3"`) {
			t.Error("not a page that waits")
		}
		if !v.Held || v.Waits || alice.code != "" || len(s.fake.released) != 0 {
			t.Errorf("%+v", v)
		}
		alice.conns[0].Isolated, alice.conns[0].Banner = true, v.Session.Banner
		b.get("/").at("/", 200, tt.home, v.Session.Banner)
		if strings.Contains(b.body, "<script>alert") {
			t.Error("the banner is not escaped")
		}
		b.get("/step-up?session=gw1/ref-1").at("/step-up", 200, tt.first)
		v.Held, v.Lifting = false, true // it has reported
		b.get("/step-up").at("/done", 200, v.Session.Banner)
		v.Lifting = false
		b.get("/done").at("/done", 200)
		if v := s.fake.stepUps; len(v) != 1 || v[0].Code != "123456" {
			t.Errorf("%+v", v)
		}
	}
}

// Who only waits for the device has nothing to send.
func TestIsolatedNothingToGive(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	v := s.fake.hold("alice", "ref-1", "198.51.100.7")
	v.Isolated, v.Waits = true, true
	b := s.browser().get("/s/ref-1")
	v.Waits = false
	b.submit("/step-up", "code", "123456").at("/step-up", 200, "Your device must report first")
	if len(s.fake.stepUps) != 0 {
		t.Errorf("%+v", s.fake.stepUps)
	}
}
