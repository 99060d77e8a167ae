package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// inDeviceGroup holds when the device is in one of the directory's groups, or in none that
// is known. That is of the directory's confidence.
type inDeviceGroup struct{ inGroup }

func readDeviceGroup(r *reader, n ast.Node) matcher { return inDeviceGroup{r.readGroups(n)} }

func (m inDeviceGroup) match(e *evaluation) bool {
	if e.demand > Directory || len(e.f.Device.Groups) == 0 {
		return m.none
	}
	return m.overlaps(&e.deviceGroups)
}

func factDeviceGroup(f *Facts, _ time.Time) string { return joined(f.Device.Groups) }
