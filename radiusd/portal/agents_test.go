package portal

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/authz/posture/agent"
	"postern/internal/report"
	"postern/internal/seal"
)

// noted keeps the records that devices made.
type noted struct{ all []posture.Record }

func (n *noted) Put(_ context.Context, recs ...posture.Record) ([]string, error) {
	n.all = append(n.all, recs...)
	return nil, nil
}
func (n *noted) Remove(context.Context, string, ...string) error { return nil }

// withAgents is a portal at which devices report.
func withAgents(t testing.TB, edit ...func(*Config)) (*site, *agent.Desk, *noted) {
	t.Helper()
	ring, err := seal.CreateFile(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	to := &noted{}
	s := newSite(t, edit...)
	desk := agent.New(s.store, ring, to)
	s.srv.agents = desk
	return s, desk, to
}

// device is one that has a key and talks to the portal.
type device struct {
	t    testing.TB
	s    *site
	key  ed25519.PrivateKey
	id   string
	seq  int64
	code int
}

func newDevice(t testing.TB, s *site) *device {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, s: s, key: key}
}

func (d *device) post(path string, body []byte, edit ...func(*http.Request)) *report.Reply {
	d.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
	r.Host, r.RemoteAddr = "portal.example.org", "198.51.100.7:1"
	r.Header.Set("Content-Type", report.ContentType)
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	d.s.srv.ServeHTTP(w, r)
	checkHeaders(d.t, r, w.Result())
	if len(w.Header()["Set-Cookie"]) > 0 || w.Header().Get("Location") != "" || w.Header().Get("Content-Type") != report.ContentType {
		d.t.Errorf("%s: %v", path, w.Header())
	}
	d.code = w.Code
	reply, err := report.ParseReply(w.Body.Bytes())
	if err != nil {
		d.t.Fatalf("%s: %d %q: %v", path, w.Code, w.Body, err)
	}
	return reply
}

func (d *device) enrol(ticket string) *report.Reply {
	d.t.Helper()
	reply := d.post(report.EnrolPath, report.Enrol(ticket, "LT-0231", d.key).Append(nil))
	d.id = reply.Device
	return reply
}

func (d *device) next(edit ...func(*report.Report)) []byte {
	d.t.Helper()
	d.seq++
	r := &report.Report{V: report.Version, Device: d.id, Time: d.s.now, Seq: d.seq, Facts: report.Facts{OS: "windows", Lock: report.Yes}}
	_, _ = rand.Read(r.Nonce[:])
	for _, f := range edit {
		f(r)
	}
	e, err := report.Seal(r, d.key)
	if err != nil {
		d.t.Fatal(err)
	}
	return e.Append(nil)
}

func TestAgentReports(t *testing.T) {
	s, desk, to := withAgents(t)
	k, err := desk.NewTicket(context.Background(), "alice", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t, s)
	if reply := d.enrol(k.Code); d.code != 200 || reply.User != "alice" || !strings.HasPrefix(reply.Device, "LT-0231-") {
		t.Fatalf("%d %+v", d.code, reply)
	}
	if reply := d.enrol(k.Code); d.code != 403 || reply.Refused != report.Ticket {
		t.Errorf("a ticket twice: %d %+v", d.code, reply)
	}
	all, err := desk.Devices(context.Background(), "alice")
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	d.id = all[0].ID
	body := d.next()
	if reply := d.post(report.ReportPath, body); d.code != 200 || reply.Device != d.id || reply.User != "" {
		t.Errorf("%d %+v", d.code, reply)
	}
	if len(to.all) != 1 || to.all[0].From.String() != "198.51.100.7" || to.all[0].Owners[0] != "alice" {
		t.Errorf("%+v", to.all)
	}
	other := newDevice(t, s)
	other.id, other.seq = d.id, 100
	for what, c := range map[string]struct {
		body   []byte
		edit   func(*http.Request)
		code   int
		want   report.Refusal
		metric string // where a device learns less
	}{
		"replayed":   {body: body, code: 409, want: report.Replayed},
		"old":        {body: d.next(func(r *report.Report) { r.Time = r.Time.Add(-3 * time.Minute) }), code: 403, want: report.Clock},
		"order":      {body: d.next(func(r *report.Report) { r.Seq = 1 }), code: 409, want: report.Order},
		"wrong key":  {body: other.next(), code: 403, want: report.UnknownKey},
		"a stranger": {body: d.next(func(r *report.Report) { r.Device = "nobody" }), code: 403, want: report.UnknownKey},
		"too big":    {body: make([]byte, report.MaxRequest+1), code: 413, want: report.Malformed},
		"empty":      {code: 400, want: report.Malformed},
		"a form": {body: body, code: 400, want: report.Malformed,
			edit: func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
		"a query": {body: body, code: 400, want: report.Malformed, edit: func(r *http.Request) { r.URL.RawQuery = "x=1" }},
		"from the VPN": {body: d.next(func(r *report.Report) { r.Seq = 1000 }), code: 200, want: report.Taken,
			edit: func(r *http.Request) { r.RemoteAddr = "203.0.113.10:1" }},
	} {
		if c.edit == nil {
			c.edit = func(*http.Request) {}
		}
		if what == "from the VPN" {
			s.fake.inside = append(s.fake.inside, netip.MustParsePrefix("203.0.113.0/24"))
		}
		if c.metric == "" {
			c.metric = c.want.String()
		}
		before := counter(t, s, "postern_portal_agents_total", "use", "report", "outcome", c.metric)
		if reply := d.post(report.ReportPath, c.body, c.edit); d.code != c.code || reply.Refused != c.want || !reply.Time.Equal(s.now) && reply.Time.IsZero() {
			t.Errorf("%s: %d %+v, want %d %v", what, d.code, reply, c.code, c.want)
		}
		if after := counter(t, s, "postern_portal_agents_total", "use", "report", "outcome", c.metric); after != before+1 {
			t.Errorf("%s: not counted as %v", what, c.want)
		}
	}
	if last := to.all[len(to.all)-1]; last.From.IsValid() {
		t.Errorf("an address of the VPN is where the device is: %+v", last)
	}
	if text := s.logs.String(); strings.Contains(text, k.Code) || !strings.Contains(text, "device refused") || !strings.Contains(text, "reason=replayed") {
		t.Error("the log")
	}
	if _, err := desk.Revoke(context.Background(), d.id, ""); err != nil {
		t.Fatal(err)
	}
	d.seq = 2000
	if reply := d.post(report.ReportPath, d.next()); d.code != 403 || reply.Refused != report.Revoked {
		t.Errorf("revoked: %d %+v", d.code, reply)
	}
	// Under another name, and not by GET.
	b := s.browser()
	if b.do(newGet(report.ReportPath)); b.code != http.StatusSeeOther {
		t.Errorf("GET: %d", b.code)
	}
}

func TestNoAgents(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	d := newDevice(t, s)
	d.id = "x"
	for _, path := range []string{report.ReportPath, report.EnrolPath} {
		if reply := d.post(path, d.next()); d.code != 404 || reply.Refused != report.Malformed {
			t.Errorf("%s: %d %+v", path, d.code, reply)
		}
	}
	s.browser().signIn("alice").get("/security").at("/security", 200).without("My computers").get("/computers").at("/computers", 404)
}

// Somebody who is signed in adds the computer he sits before, and takes it away.
func TestAddComputer(t *testing.T) {
	s, _, _ := withAgents(t, func(c *Config) { c.SelfEnrol = true })
	s.fake.add("alice")
	b := s.browser().signIn("alice").get("/security").at("/security", 200, "My computers").get("/computers").at("/computers", 200, "There are none")
	b.submit("/computers").at("/computers", 200, "Add this computer", "postern-agent enrol --server https://portal.example.org --ticket ")
	ticket := regexp.MustCompile(`--ticket ([0-9A-Z-]+)`).FindStringSubmatch(b.body)[1]
	d := newDevice(t, s)
	if reply := d.enrol(ticket); reply.User != "alice" {
		t.Fatalf("%+v", reply)
	}
	// It is no ticket for a second factor.
	s.browser().get("/enrol").submit("/enrol/ticket", "ticket", ticket).at("/enrol/ticket", 422)
	b.get("/computers").at("/computers", 200, d.id, "not heard of yet")
	if reply := d.post(report.ReportPath, d.next()); reply.Refused != report.Taken {
		t.Fatalf("%+v", reply)
	}
	b.get("/computers").at("/computers", 200, "last heard of")
	s.sleep(fresh + time.Minute)
	s.fake.people["alice"].code = "222222"
	b.submit("/computers/remove", "id", d.id).at("/again", 200)
	b.submit("/again", "password", "correct horse", "code", "222222").at("/computers", 200)
	b.submit("/computers/remove", "id", "nobody-s").at("/computers", 200, "not there any more")
	b.submit("/computers/remove", "id", d.id).at("/computers", 200, "was removed", "There are none")
	if reply := d.post(report.ReportPath, d.next()); reply.Refused != report.Revoked {
		t.Errorf("%+v", reply)
	}
}

// Where users may not, the page says whom to ask, and a form of before does nothing.
func TestNoSelfEnrolment(t *testing.T) {
	s, desk, _ := withAgents(t)
	s.fake.add("alice")
	b := s.browser().signIn("alice").get("/computers").at("/computers", 200, "ask your support")
	if b.find("/computers") != nil {
		t.Error("a form")
	}
	token := formToken(b.cookies[cookieSession], "/computers")
	r := httptest.NewRequest(http.MethodPost, "/computers", strings.NewReader("form="+token))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(r)
	if b.code != http.StatusSeeOther {
		t.Errorf("%d", b.code)
	}
	if _, err := desk.Devices(context.Background(), "alice"); err != nil {
		t.Error(err)
	}
	b.get("/computers").at("/computers", 200).without("--ticket")
}
