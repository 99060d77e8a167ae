package obs

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		main     string
		settings []debug.BuildSetting
		want     string
	}{
		{"v1.2.3", vcs("1f3a9c02e4b7aaaa", "false"), "v1.2.3"},
		{"v1.2.3+dirty", nil, "v1.2.3+dirty"},
		{"(devel)", vcs("1f3a9c02e4b7aaaa", "false"), "devel-1f3a9c02e4b7"},
		{"v0.0.0-20261123013438-1f3a9c02e4b7", vcs("1f3a9c02e4b7aaaa", "true"), "devel-1f3a9c02e4b7-dirty"},
		{"", nil, "devel"},
		{"", vcs("1f3a", ""), "devel-1f3a"},
	} {
		if got := version(&debug.BuildInfo{Main: debug.Module{Version: c.main}, Settings: c.settings}); got != c.want {
			t.Errorf("%q %v: %q, want %q", c.main, c.settings, got, c.want)
		}
	}
	if Version() == "" {
		t.Error("no version")
	}
}
