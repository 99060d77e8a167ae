package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"postern/internal/report"
)

// linuxEncrypted says whether every file system on a fixed disk lies on LUKS, but for
// what the machine starts from. A disk that encrypts itself looks like one that does not.
func linuxEncrypted(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.Run(ctx, "lsblk", "-J", "-o", "NAME,TYPE,RM,MOUNTPOINT")
	if err == nil {
		a, err := parseLsblk(b)
		return setEncrypted(a), err
	}
	if !errors.Is(err, errNoTool) {
		return nil, err
	}
	mapped := m.glob("sys/block/dm-*/dm/uuid")
	for _, name := range mapped {
		if b, err := m.read(name); err != nil || bytes.HasPrefix(b, []byte("CRYPT-")) {
			return nil, errors.New("something is encrypted, and without lsblk it is not known whether all is")
		}
	}
	if len(m.glob("sys/block/*")) == 0 {
		return nil, errors.New("lsblk is not installed, and /sys shows no disk")
	}
	return setEncrypted(report.No), nil
}

// blockDevice is a device as lsblk shows it, with those that lie on it.
type blockDevice struct {
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	RM       flag          `json:"rm"`
	Mount    string        `json:"mountpoint"`
	Children []blockDevice `json:"children"`
}

// flag is true or "1", by lsblk's age.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true" || string(b) == `"1"`
	return nil
}

// parseLsblk reads `lsblk -J -o NAME,TYPE,RM,MOUNTPOINT`.
func parseLsblk(b []byte) (report.Answer, error) {
	var all struct {
		Devices []blockDevice `json:"blockdevices"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return report.Unknown, errors.New("lsblk: not understood")
	}
	root, bare := false, false
	var walk func(d *blockDevice, encrypted bool)
	walk = func(d *blockDevice, encrypted bool) {
		if d.RM || d.Type == "loop" || d.Type == "rom" {
			return
		}
		encrypted = encrypted || d.Type == "crypt"
		if keepsData(d.Mount) {
			root = root || d.Mount == "/"
			bare = bare || !encrypted
		}
		for i := range d.Children {
			walk(&d.Children[i], encrypted)
		}
	}
	for i := range all.Devices {
		walk(&all.Devices[i], false)
	}
	switch {
	case bare:
		return report.No, nil
	case !root: // a container, ZFS, a network
		return report.Unknown, errors.New("the root file system is on no disk that lsblk shows")
	}
	return report.Yes, nil
}

// keepsData says whether what is mounted there is more than a boot loader's.
func keepsData(mount string) bool {
	switch {
	case mount == "", mount == "[SWAP]", mount == "/efi", mount == "/boot", strings.HasPrefix(mount, "/boot/"):
		return false
	}
	return true
}
