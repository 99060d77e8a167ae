//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/cmd/internal/cmdtest"
	"postern/internal/report"
	"postern/internal/store"
	"postern/internal/store/redistest"
	"postern/policy"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, "postern-agent", "postern", "postern-radiusd")) }

// Two services on one store, as processes, and the agent as people run it.
type installation struct {
	one, two *cmdtest.Site
	store    store.Store
	config   string // of the first, for the operator's commands
	dir      string // the agent's
}

// second makes another service's configuration beside the first, on other ports.
func second(t *testing.T, one *cmdtest.Site) *cmdtest.Site {
	t.Helper()
	two := *one
	two.Radiusd = filepath.Join(one.Dir, "radiusd2.yaml")
	two.Auth, two.Acct, two.RadSec, two.Metrics, two.Portal = cmdtest.FreeUDP(t), cmdtest.FreeUDP(t), cmdtest.FreeTCP(t), cmdtest.FreeTCP(t), cmdtest.FreeTCP(t)
	text := one.Read(t, "radiusd.yaml")
	for old, now := range map[string]string{one.Auth: two.Auth, one.Acct: two.Acct, one.RadSec: two.RadSec, one.Metrics: two.Metrics, one.Portal: two.Portal} {
		text = strings.ReplaceAll(text, old, now)
	}
	one.Write(t, "radiusd2.yaml", strings.Replace(text, "file: audit.json", "file: audit2.json", 1))
	return &two
}

func install(t *testing.T) *installation {
	t.Helper()
	redis := redistest.Start(t)
	one := cmdtest.NewSite(t)
	one.Edit(t, "radiusd.yaml", "store: {path: state/store.db}", fmt.Sprintf("store: {kind: redis, urls: [%q]}", redis.URL()))
	two := second(t, one)
	for _, s := range []*cmdtest.Site{one, two} {
		cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd).Await(t, `"msg":"running"`, 1)
	}
	return &installation{one: one, two: two, store: redis.Open(t), config: one.Radiusd, dir: filepath.Join(t.TempDir(), "agent")}
}

func (i *installation) operator(t *testing.T, args ...string) string {
	t.Helper()
	return cmdtest.Must(t, "", "postern", append([]string{"--config", i.config, "-o", "json"}, args...)...)
}

func (i *installation) ticket(t *testing.T, args ...string) string {
	t.Helper()
	var k struct{ Code string }
	if err := json.Unmarshal([]byte(i.operator(t, append([]string{"device", "ticket"}, args...)...)), &k); err != nil || k.Code == "" {
		t.Fatal(k, err)
	}
	return k.Code
}

// agent runs the agent.
func (i *installation) agent(t *testing.T, input string, args ...string) cmdtest.Result {
	t.Helper()
	return cmdtest.Run(t, input, "postern-agent", append([]string{args[0], "--dir", i.dir}, args[1:]...)...)
}

// records are what the services know of a device.
func (i *installation) records(t *testing.T, device string) []posture.Record {
	t.Helper()
	recs, _, err := posture.New(i.store, posture.Config{}).Get(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// counted is how often a service refused or took reports so.
func counted(t *testing.T, s *cmdtest.Site, use, outcome string) float64 {
	t.Helper()
	res, err := http.Get("http://" + s.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprintf(`postern_portal_agents_total{outcome=%q,use=%q} `, outcome, use)
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(line)
			}
			return n
		}
	}
	t.Fatalf("no metric %s", prefix)
	return 0
}

// A ticket, an enrolment and a report of this very machine, through real services: what
// it found stands in the store as attested, with where it came from. What must not be
// taken is not, at whichever service, and each says why.
func TestRealService(t *testing.T) {
	i := install(t)
	ca := filepath.Join(i.one.Dir, "tls", "ca.pem")
	url := "https://" + i.one.Portal
	if r := i.agent(t, "", "report"); r.Status != 1 || !strings.Contains(r.Errs, "not enrolled") {
		t.Errorf("before: %+v", r)
	}
	code := i.ticket(t, "alice")
	if r := i.agent(t, "", "enrol", "--server", url, "--ticket", code); r.Status != 1 || !strings.Contains(r.Errs, "certificate") {
		t.Errorf("a service that nobody vouches for: %+v", r)
	}
	r := i.agent(t, code+"\n", "enrol", "--server", url, "--ca", ca, "--ticket", "-", "--name", "LT-0231")
	if r.Status != 0 || !strings.Contains(r.Out, "LT-0231-") || !strings.Contains(r.Out, " of alice\n") {
		t.Fatalf("%+v", r)
	}
	if r := i.agent(t, "", "enrol", "--server", url, "--ca", ca, "--ticket", code, "--again"); r.Status != 1 || !strings.Contains(r.Errs, "ticket is not valid") {
		t.Errorf("a ticket twice: %+v", r)
	}
	if r := i.agent(t, "", "report"); r.Status != 0 || !strings.Contains(r.Out, "was taken") {
		t.Fatalf("%+v", r)
	}

	a := &agent{dir: i.dir}
	id, err := a.identity()
	if err != nil {
		t.Fatal(err)
	}
	recs := i.records(t, id.Device)
	if len(recs) != 1 {
		t.Fatalf("%+v", recs)
	}
	rec := recs[0]
	if rec.Source != posture.FromAgent || rec.Confidence != policy.Attested || len(rec.Owners) != 1 || rec.Owners[0] != "alice" ||
		rec.From != netip.MustParseAddr("127.0.0.1") || time.Since(rec.At) > time.Minute || rec.Facts.OS != "linux" || rec.Facts.Booted.IsZero() {
		t.Errorf("%+v", rec)
	}
	var shown struct{ Facts report.Facts }
	if err := json.Unmarshal([]byte(i.agent(t, "", "show", "--json").Out), &shown); err != nil || shown.Facts.OSVersion != rec.Facts.OSVersion {
		t.Errorf("shows %+v and reports %+v, %v", shown.Facts, rec.Facts, err)
	}

	// From here on the reports are made by hand, with the device's own key and others.
	services := map[*cmdtest.Site]*service{}
	for _, s := range []*cmdtest.Site{i.one, i.two} {
		if services[s], err = newService("https://"+s.Portal, id.CA, ""); err != nil {
			t.Fatal(err)
		}
	}
	other := &installation{one: i.one, two: i.two, store: i.store, config: i.config, dir: filepath.Join(t.TempDir(), "other")}
	if r := other.agent(t, "", "enrol", "--server", url, "--ca", ca, "--ticket", other.ticket(t, "plant", "--device", "LT-0777")); r.Status != 0 {
		t.Fatalf("%+v", r)
	}
	stranger, err := (&agent{dir: other.dir}).identity()
	if err != nil || stranger.Device != "LT-0777" || stranger.User != "plant" {
		t.Fatalf("%+v, %v", stranger, err)
	}
	seq := time.Now().UnixMilli() + 1000
	make := func(who *identity, edit func(*report.Report)) []byte {
		t.Helper()
		seq++
		r := &report.Report{V: report.Version, Device: who.Device, Time: time.Now().UTC().Truncate(time.Second), Nonce: report.Nonce{byte(seq), byte(seq >> 8), 1}, Seq: seq}
		if edit != nil {
			edit(r)
		}
		e, err := report.Seal(r, who.key)
		if err != nil {
			t.Fatal(err)
		}
		return e.Append(nil)
	}
	want := func(s *cmdtest.Site, what string, body []byte, told report.Refusal, outcome string) {
		t.Helper()
		before := counted(t, s, "report", outcome)
		reply, err := services[s].post(context.Background(), report.ReportPath, body)
		if err != nil || reply.Refused != told {
			t.Errorf("%s: %+v, %v, want %v", what, reply, err, told)
		}
		if after := counted(t, s, "report", outcome); after != before+1 {
			t.Errorf("%s: %s was counted %v times", what, outcome, after-before)
		}
	}
	good := make(id, nil)
	want(i.one, "a good one", good, report.Taken, "taken")
	want(i.one, "replayed", good, report.Replayed, "replayed")
	want(i.two, "replayed at the other service", good, report.Replayed, "replayed")
	early := make(id, nil)
	want(i.two, "a later one at the other", make(id, nil), report.Taken, "taken")
	want(i.one, "overtaken", early, report.Order, "order")
	want(i.one, "an old time", make(id, func(r *report.Report) { r.Time = r.Time.Add(-3 * time.Minute) }), report.Clock, "clock")
	want(i.one, "another's device", make(stranger, func(r *report.Report) { r.Device = id.Device }), report.UnknownKey, "unknown")
	forged := *stranger
	forged.Device = id.Device
	e, err := report.ParseEnvelope(make(&forged, nil))
	if err != nil {
		t.Fatal(err)
	}
	e.Key = keyID(id)
	want(i.one, "a wrong key that says it is the right one", e.Append(nil), report.UnknownKey, "signature")
	want(i.one, "nobody's device", make(id, func(r *report.Report) { r.Device = "LT-9999" }), report.UnknownKey, "unknown")
	if e, err = report.ParseEnvelope(make(id, nil)); err != nil {
		t.Fatal(err)
	}
	e.Report = append(e.Report[:len(e.Report)-1], []byte(`,"more":true}`)...)
	want(i.one, "a field that nobody knows", e.Append(nil), report.Malformed, "malformed")
	want(i.one, "too long", make(id, nil)[:1], report.Malformed, "malformed")
	want(i.one, "too long", []byte(strings.Repeat("x", report.MaxRequest+1)), report.Malformed, "malformed")

	// Revoked at one service, refused at the other, and what it said is forgotten.
	i.operator(t, "device", "revoke", id.Device)
	want(i.two, "revoked", make(id, nil), report.Revoked, "revoked")
	if recs := i.records(t, id.Device); len(recs) != 0 {
		t.Errorf("still known: %+v", recs)
	}
	if r := i.agent(t, "", "report"); r.Status != 1 || !strings.Contains(r.Errs, "taken away") {
		t.Errorf("%+v", r)
	}
	if r := i.agent(t, "", "status"); r.Status != 1 || !strings.Contains(r.Out, "taken away") {
		t.Errorf("%+v", r)
	}
	if r := other.agent(t, "", "report"); r.Status != 0 {
		t.Errorf("%+v", r)
	}
	if recs := i.records(t, "lt-0777"); len(recs) != 1 || recs[0].Owners[0] != "plant" {
		t.Errorf("%+v", recs)
	}

	// The daemon reports by itself, and dialling reports first.
	before := counted(t, i.one, "report", "taken")
	d := cmdtest.Start(t, "postern-agent", "run", "--dir", other.dir)
	d.Await(t, "agent running", 1)
	for end := time.Now().Add(20 * time.Second); counted(t, i.one, "report", "taken") == before && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	if r := other.agent(t, "", "dial", "--strict", "--", "echo", "dialled"); r.Status != 0 || r.Out != "dialled\n" {
		t.Errorf("%+v", r)
	}
	if after := counted(t, i.one, "report", "taken"); after != before+2 {
		t.Errorf("%v reports were taken", after-before)
	}
	if r := i.agent(t, "", "dial", "--strict", "--", "echo", "dialled"); r.Status != 1 || r.Out != "" || !strings.Contains(r.Errs, "not dialled") {
		t.Errorf("revoked and strict: %+v", r)
	}
	if r := i.agent(t, "", "dial", "--", "echo", "dialled"); r.Status != 0 || r.Out != "dialled\n" {
		t.Errorf("revoked: %+v", r)
	}
	if r := i.agent(t, "", "dial", "--", "sh", "-c", "exit 7"); r.Status != 7 {
		t.Errorf("what dials ends with 7, and the agent with %d", r.Status)
	}
}

func keyID(id *identity) string { return report.KeyID(report.Enrol("", "", id.key).Key) }
