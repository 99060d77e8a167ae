//go:build !windows

package collect

import (
	"os"
	"runtime"
	"time"
)

// Here is the machine that this runs on.
func Here() *Machine {
	m := &Machine{OS: runtime.GOOS, Root: "/", Now: time.Now, Run: run, Admin: os.Geteuid() == 0}
	m.Uptime = m.procUptime
	return m
}
