package daemon

import (
	"fmt"
	"runtime"

	"postern/internal/obs"
)

// Version says which program this is and what it was built from.
func Version(program string) string {
	return fmt.Sprintf("%s %s (%s, %s/%s)", program, obs.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
