package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern-agent/collect"
	"postern/internal/report"
)

// desk is a service: it knows one ticket, and takes what is signed with the key that came
// with it.
type desk struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	key     ed25519.PublicKey
	seq     int64
	reports []report.Report
	answers []report.Refusal // to the next reports
}

func newDesk(t testing.TB) *desk {
	d := &desk{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+report.EnrolPath, d.enrol)
	mux.HandleFunc("POST "+report.ReportPath, d.report)
	d.Server = httptest.NewTLSServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *desk) answer(w http.ResponseWriter, r *report.Reply) {
	r.Time = time.Now().UTC().Truncate(time.Second)
	w.Header().Set("Content-Type", report.ContentType)
	_, _ = w.Write(r.Append(nil))
}

func (d *desk) enrol(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	e, err := report.ParseEnrolment(b)
	if err != nil || !e.Proved() {
		d.t.Errorf("%s: %v", b, err)
		return
	}
	if e.Ticket != "the-ticket" {
		d.answer(w, &report.Reply{Refused: report.Ticket})
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.key = e.Key
	d.answer(w, &report.Reply{Device: e.Name + "-1", User: "alice"})
}

func (d *desk) report(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	e, err := report.ParseEnvelope(b)
	if err != nil {
		d.t.Errorf("%s: %v", b, err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	x, err := report.Parse(e.Report)
	if err != nil || !e.Signed(d.key) || x.Seq <= d.seq {
		d.t.Errorf("%s, signed %v, number %d after %d: %v", e.Report, e.Signed(d.key), x.Seq, d.seq, err)
		return
	}
	d.seq = x.Seq
	if len(d.answers) > 0 {
		refused := d.answers[0]
		d.answers = d.answers[1:]
		if refused != report.Taken {
			d.answer(w, &report.Reply{Refused: refused})
			return
		}
	}
	d.reports = append(d.reports, *x)
	d.answer(w, &report.Reply{Device: x.Device})
}

func (d *desk) pin() string {
	sum := sha256.Sum256(d.Certificate().RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// laptop is an agent on a computer of which nothing can be found out.
type laptop struct {
	*agent
	out, errs bytes.Buffer
}

func newLaptop(t testing.TB) *laptop {
	l := &laptop{}
	l.agent = &agent{out: &l.out, errs: &l.errs, dir: filepath.Join(t.TempDir(), "agent"), machine: &collect.Machine{
		OS: "linux", Root: t.TempDir(), Now: time.Now,
		Run:    func(context.Context, string, ...string) ([]byte, error) { return nil, errors.New("no tools") },
		Uptime: func() (time.Duration, error) { return time.Hour, nil },
	}}
	return l
}

func (l *laptop) run(t testing.TB, args ...string) error {
	t.Helper()
	l.out.Reset()
	return l.main(t.Context(), args)
}

func TestEnrolAndReport(t *testing.T) {
	d, l := newDesk(t), newLaptop(t)
	if err := l.run(t, "report"); !errors.Is(err, errNotEnrolled) {
		t.Errorf("before: %v", err)
	}
	enrol := func(args ...string) error {
		return l.run(t, append([]string{"enrol", "--server", d.URL, "--name", "LT-0231.corp.example"}, args...)...)
	}
	if err := enrol("--ticket", "another", "--pin", d.pin()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("another ticket: %v", err)
	}
	if err := enrol("--ticket", "the-ticket"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a service that nobody knows: %v", err)
	}
	if err := enrol("--ticket", "the-ticket", "--pin", pinPrefix+base64.StdEncoding.EncodeToString(make([]byte, 32))); err == nil {
		t.Error("a service with another key than the pinned one")
	}
	if d.key != nil {
		t.Fatal("the ticket was shown to a service that is not known")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := enrol("--ticket", "the-ticket", "--ca", ca); err != nil || l.out.String() != "this computer is LT-0231-1 of alice\n" {
		t.Fatalf("%v, %q", err, l.out.String())
	}
	if err := enrol("--ticket", "the-ticket", "--ca", ca); err == nil || !strings.Contains(err.Error(), "--again") {
		t.Errorf("a second time: %v", err)
	}
	if err := l.run(t, "report"); err != nil || !strings.HasPrefix(l.out.String(), "LT-0231-1: ") {
		t.Errorf("%v, %q", err, l.out.String())
	}
	if len(d.reports) != 2 || d.reports[1].Device != "LT-0231-1" {
		t.Errorf("%+v", d.reports)
	}
	if f := d.reports[1].Facts; f.Encrypted != report.Unknown || f.Antivirus != report.Unknown {
		t.Errorf("it knows what it cannot know: %+v", f)
	}
	if err := l.run(t, "status"); err != nil || !strings.Contains(l.out.String(), "LT-0231-1") {
		t.Errorf("%v, %q", err, l.out.String())
	}
	// The key is for nobody else, and never printed.
	info, err := os.Stat(l.private(keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if dir, err := os.Stat(filepath.Dir(l.private(keyFile))); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", dir.Mode(), err)
	}
}

// A report that another of this computer overtook is made anew; another refusal is told.
func TestRefusedReports(t *testing.T) {
	d, l := newDesk(t), newLaptop(t)
	if err := l.run(t, "enrol", "--server", d.URL, "--ticket", "the-ticket", "--pin", d.pin(), "--name", "pc"); err != nil {
		t.Fatal(err)
	}
	d.answers = []report.Refusal{report.Order, report.Order}
	if err := l.run(t, "report"); err != nil || len(d.reports) != 2 {
		t.Errorf("%v, %d reports", err, len(d.reports))
	}
	d.answers = []report.Refusal{report.Revoked}
	var no *refused
	if err := l.run(t, "report"); !errors.As(err, &no) || no.reply.Refused != report.Revoked {
		t.Errorf("revoked: %v", err)
	}
	var exit exitStatus
	if err := l.run(t, "status"); !errors.As(err, &exit) || exit != 1 {
		t.Errorf("status: %v, %q", err, l.out.String())
	}
	if p := pause(10*time.Minute, 1, no, 0.5); p < 59*time.Minute {
		t.Errorf("a revoked computer reports again after %v", p)
	}
	if p := pause(10*time.Minute, 1, errors.New("away"), 0.5); p > time.Minute {
		t.Errorf("one that could not reach the service after %v", p)
	}
}

func TestUsage(t *testing.T) {
	l := newLaptop(t)
	for _, args := range [][]string{nil, {"nonsense"}, {"enrol"}, {"enrol", "--server", "http://x", "--ticket", "t"}, {"report", "extra"}, {"run", "--every", "1s"}, {"dial"}} {
		if err := l.run(t, args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	for _, args := range [][]string{{"help"}, {"version"}, {"show"}, {"show", "--json"}} {
		if err := l.run(t, args...); err != nil || l.out.Len() == 0 {
			t.Errorf("%q: %v, %q", args, err, l.out.String())
		}
	}
}
