package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevices(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	file := filepath.Join(t.TempDir(), "export.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const head = "Device name,Compliance,OS,OS version,Primary user UPN,Last check-in,Encrypted\n"
	write(head + "LT-0231,Compliant,Windows,10.0.22631.3155,alice@corp.example,2026-11-22 08:23:11,True\n" +
		"LT-0232,Noncompliant,Windows,10.0.19045.1,bob@corp.example,2026-11-21 08:00:00,False\na b,,,,,2026-11-21 08:00:00,\n")
	in := []string{"device", "import", "--source", "intune", "--format", "intune", "--bare", file}
	if out := s.must(t, "", append(in, "--dry-run")...); !strings.Contains(out, "2 devices of intune would be imported") {
		t.Error(out)
	}
	if out := s.must(t, "", "device", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a dry run wrote %s", out)
	}
	out := s.must(t, "", in...)
	if !strings.Contains(out, "2 devices of intune imported, of 2 users") || !strings.Contains(out, `row 4 left out: "a b" cannot name a device`) {
		t.Error(out)
	}
	var recs []struct {
		Device, Source, Confidence string
		Owners                     []string
		Facts                      map[string]any
	}
	if err := json.Unmarshal([]byte(s.must(t, "", "device", "list", "--user", "alice", "-o", "json")), &recs); err != nil {
		t.Fatal(err)
	}
	if len(recs) != 1 || recs[0].Device != "lt-0231" || recs[0].Confidence != "inventory" || recs[0].Owners[0] != "alice" || recs[0].Facts["compliant"] != "true" {
		t.Errorf("%+v", recs)
	}
	if out := s.must(t, "", "device", "show", "LT-0232"); !strings.Contains(out, "windows 10.0.19045.1") {
		t.Error(out)
	}
	// What the file does not name any more is gone with --full, and only then.
	write(head + "LT-0231,Compliant,Windows,10.0.22631.3155,alice@corp.example,2026-11-23 08:23:11,True\n")
	s.must(t, "", in...)
	s.must(t, "", "device", "show", "LT-0232")
	if out := s.must(t, "", append(in, "--full")...); !strings.Contains(out, "1 not in the file any more: lt-0232") {
		t.Error(out)
	}
	s.fails(t, "", "nothing is known of device LT-0232", "device", "show", "LT-0232")
	write(head)
	s.fails(t, "", "nothing is forgotten", append(in, "--full")...)

	s.fails(t, "", "nothing is known", "device", "remove", "lt-0231", "--source", "sccm")
	s.must(t, "", "device", "remove", "lt-0231")
	s.fails(t, "", "nothing is known", "device", "show", "lt-0231")

	s.fails(t, "", "--source", "device", "import", "--source", "agent", "--format", "intune", file)
	s.fails(t, "", "--format", "device", "import", "--source", "x", "--format", "nothing", file)
}

func TestDeviceTickets(t *testing.T) {
	s := newSite(t)
	s.must(t, "x", "user", "add", "alice")
	var made struct{ ID, Code, User string }
	if err := json.Unmarshal([]byte(s.must(t, "", "device", "ticket", "alice", "--device", "LT-0231", "-o", "json")), &made); err != nil {
		t.Fatal(err)
	}
	if made.User != "alice" || made.Code == "" {
		t.Errorf("%+v", made)
	}
	if out := s.must(t, "", "device", "ticket", "alice"); !strings.Contains(out, "postern-agent enrol --server ") {
		t.Error(out)
	}
	s.must(t, "", "device", "ticket", "alice", "--revoke", made.ID)
	s.fails(t, "", "no such ticket", "device", "ticket", "alice", "--revoke", made.ID)
	s.fails(t, "", "cannot be the name", "device", "ticket", "alice", "--device", "a b")
	s.fails(t, "", "no such device", "device", "revoke", "lt-0231")
}
