package obs

import (
	"runtime/debug"
	"strings"
)

// Version is the module's version, or the commit it was built from, as the linker
// wrote it down: "v1.2.3", "devel-1f3a9c02e4b7", "devel-1f3a9c02e4b7-dirty".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version(&debug.BuildInfo{})
	}
	return version(info)
}

// shownCommit is how much of a commit identifies it, ours.
const shownCommit = 12

func version(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" && !strings.HasPrefix(v, "v0.0.0-") {
		return v
	}
	commit, dirty := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(len(s.Value), shownCommit)]
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	switch {
	case commit == "":
		return "devel"
	case dirty:
		return "devel-" + commit + "-dirty"
	default:
		return "devel-" + commit
	}
}
