//go:build integration

// Command guest is the first process of a clientvm guest. It mounts what a Linux
// program expects, sets up the network it was told to, and then does what the host
// asks over the serial line, until it is told to power off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"postern/integration/clientvm"
)

const (
	job    = "/job" // the directory shared with the host
	device = "vec0"
)

// Guest is what the host can call.
type Guest struct {
	setup clientvm.Setup

	mu      sync.Mutex
	clients map[int]*client // those of the last Dial
	members int             // how many namespaces are behind the bridge
}

// PowerOff ends the guest; there is no answer.
func (*Guest) PowerOff(clientvm.None, *clientvm.None) error {
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func main() {
	fmt.Fprintln(os.Stderr, "guest:", serve()) // standard error is the console, which the host keeps
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// serve returns when something is wrong, and says what.
func serve() error {
	for name, value := range map[string]string{"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "LC_ALL": "C"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	if err := mountAll(); err != nil {
		return err
	}
	// One after the other: a module that an older image lacks shows where it is needed.
	for _, m := range []string{"ppp_generic", "ppp_mppe", "ppp_async", "ppp_synctty", "pptp", "veth", "bridge"} {
		if out, err := exec.Command("modprobe", m).CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe %s: %w: %s", m, err, out)
		}
	}
	g := &Guest{clients: make(map[int]*client)}
	text, err := os.ReadFile(job + "/setup.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &g.setup); err != nil {
		return err
	}
	if err := g.network(); err != nil {
		return err
	}
	if err := rpc.Register(g); err != nil {
		return err
	}
	line, err := openSerial("/dev/ttyS0")
	if err != nil {
		return err
	}
	if _, err := line.WriteString(clientvm.Greeting); err != nil {
		return err
	}
	jsonrpc.ServeConn(line)
	return errors.New("the serial line has ended")
}

func mountAll() error {
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"sys", "/sys", "sysfs", ""},
		{"dev", "/dev", "devtmpfs", ""},
		{"devpts", "/dev/pts", "devpts", "ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", ""},
		{"tmpfs", "/run", "tmpfs", ""},
		{"tmpfs", "/tmp", "tmpfs", ""},
		{"tmpfs", "/root", "tmpfs", ""},
		{"tmpfs", "/var", "tmpfs", ""},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil && !errors.Is(err, unix.EROFS) {
			return err
		}
		// EBUSY: the kernel has mounted its devtmpfs itself.
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for _, d := range []string{"/run/netns", "/run/lock", "/run/pptp", "/var/lock", "/var/log", "/var/lib", "/var/tmp"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", "/var/run"); err != nil {
		return err
	}
	if err := os.Symlink("/proc/self/fd", "/dev/fd"); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A copy of /etc in memory: pppd and pptpd read their secrets there.
	if err := os.CopyFS("/tmp/etc", os.DirFS("/etc")); err != nil {
		return err
	}
	if err := unix.Mount("/tmp/etc", "/etc", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(string(cmdline)) {
		if dir, ok := strings.CutPrefix(word, "jobdir="); ok {
			return unix.Mount("none", job, "hostfs", 0, dir)
		}
	}
	return errors.New("no jobdir on the command line")
}

// openSerial opens a terminal as a plain stream of octets.
func openSerial(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	raw, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	raw.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
