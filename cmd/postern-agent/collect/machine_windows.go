package collect

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// Here is the machine that this runs on.
func Here() *Machine {
	return &Machine{
		OS: "windows", Root: `C:\`, Now: time.Now, Run: run, Registry: hive{}, Admin: windows.GetCurrentProcessToken().IsElevated(),
		Uptime: func() (time.Duration, error) { return windows.DurationSinceBoot(), nil },
	}
}

// hive is the registry of this machine; the 64-bit one also for a 32-bit program.
type hive struct{}

func (hive) open(path string, access uint32) (registry.Key, error) {
	root, rest, _ := strings.Cut(path, `\`)
	from := registry.LOCAL_MACHINE
	switch root {
	case "HKLM":
	case "HKU":
		from = registry.USERS
	default:
		return 0, fmt.Errorf("registry: no root %s", root)
	}
	return registry.OpenKey(from, rest, access|registry.WOW64_64KEY)
}

func (h hive) Value(path, name string) (string, uint64, error) {
	k, err := h.open(path, registry.QUERY_VALUE)
	if err != nil {
		return "", 0, err
	}
	defer k.Close()
	if n, _, err := k.GetIntegerValue(name); err == nil {
		return "", n, nil
	}
	s, _, err := k.GetStringValue(name)
	return s, 0, err
}

func (h hive) Keys(path string) ([]string, error) {
	k, err := h.open(path, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	return k.ReadSubKeyNames(-1)
}
