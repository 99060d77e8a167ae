package collect

import (
	"path/filepath"
	"testing"
	"time"

	"postern/internal/report"
)

// Whatever a tool says, it is read or not understood: the agent runs as root.
func FuzzParsers(f *testing.F) {
	names, err := filepath.Glob("testdata/*.*")
	if err != nil || len(names) < 10 {
		f.Fatal(names, err)
	}
	for _, name := range names {
		f.Add(sample(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, version := parseOSRelease(b)
		if write, err := setOS("linux", version); err == nil {
			var r report.Facts
			if write(&r); !report.IsVersion(r.OSVersion) {
				t.Fatalf("version %q", r.OSVersion)
			}
		}
		if up, err := parseUptime(b); err == nil && up < 0 {
			t.Fatalf("up for %v", up)
		}
		for _, at := range []time.Time{parseAptHistory(b, time.UTC), parseRPMTimes(b), parsePacman(b), parseHotfixes(b)} {
			if y := at.Year(); y < 0 || y > 40000 {
				t.Fatalf("in %d", y)
			}
		}
		_ = parseSessions(b)
		_ = isDesktop(b)
		_, _ = parseNft(b)
		_, _ = parseIptables(b)
		_, _ = parseFirewalld(b)
		for _, parse := range []func([]byte) (report.Answer, error){parseLsblk, parseVolumes, parseAntivirus, parseDefender} {
			if a, err := parse(b); err != nil && a != report.Unknown || a > report.Yes {
				t.Fatalf("%v with %v", a, err)
			}
		}
	})
}
