//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/integration/netlab"
)

// capture records what crosses an interface until the test ends, and then has
// tshark read it: no packet may be malformed, and each of the protocols named must
// have been seen, so that an empty capture proves nothing by being clean.
func capture(t *testing.T, ns *netlab.Namespace, device, filter string, protocols ...string) {
	t.Helper()
	// Not t.TempDir: dumpcap gives up root's rights over files of others.
	dir, err := os.MkdirTemp("", "capture")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "link.pcapng")
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		}
	})
	stop := background(t, ns, "File:", "dumpcap", "-q", "-i", device, "-f", filter, "-w", file)
	t.Cleanup(func() {
		stop()
		inspect(t, file, protocols)
	})
}

func inspect(t *testing.T, file string, protocols []string) {
	t.Helper()
	out, err := exec.Command("tshark", "-n", "-r", file, "-Y", "_ws.malformed").Output()
	if err != nil {
		t.Errorf("tshark: %v", err)
	}
	if len(out) > 0 {
		t.Errorf("malformed packets in %s:\n%s", file, out)
	}
	out, err = exec.Command("tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.protocols").Output()
	if err != nil {
		t.Errorf("tshark: %v", err)
	}
	seen := make(map[string]int)
	for stack := range strings.FieldsSeq(string(out)) {
		for p := range strings.SplitSeq(stack, ":") {
			seen[p]++
		}
	}
	var missing []string
	for _, p := range protocols {
		if seen[p] == 0 {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%s has no packet of %q, only %v", file, slices.Compact(missing), seen)
	}
}
