//go:build integration

package clientvm

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// guestPackages is what the guest is made of; apt adds what they depend on.
var guestPackages = []string{
	"user-mode-linux",   // the kernel, a plain program, and its modules
	"ppp", "pptp-linux", // the client
	"pptpd",                     // the peer of this package's own test
	"ppp-dev", "linux-libc-dev", // to build the plugin against this very pppd
	"dash", "kmod", "coreutils", "iproute2", "iputils-ping", "iperf3",
	"iptables", // Share
}

//go:embed plugin/kpptp.c
var pluginSource []byte

// layout counts changes to the image that its other inputs do not show.
const layout = "3"

// Image is a guest's root directory, ready to boot.
type Image struct {
	root string // shared by all guests, read only
	init string // first process, as the guest sees it
}

// CacheDir is where images live: $POSTERN_TEST_CACHE, or postern-tests under
// $XDG_CACHE_HOME, or /var/cache/postern-tests.
func CacheDir() string {
	if dir := os.Getenv("POSTERN_TEST_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "postern-tests")
	}
	return "/var/cache/postern-tests"
}

// Build returns the image, making it if the cache has none: about 20 s. Several
// processes may call it at once.
func Build(ctx context.Context) (*Image, error) {
	dir := CacheDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}

	stamp := sha256.New()
	fmt.Fprintln(stamp, layout, guestPackages)
	stamp.Write(pluginSource)
	root := filepath.Join(dir, fmt.Sprintf("guest-%x", stamp.Sum(nil)[:6]))
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		if err := makeRoot(ctx, dir, root); err != nil {
			return nil, err
		}
	}
	init, err := installInit(ctx, root)
	if err != nil {
		return nil, err
	}
	return &Image{root: root, init: init}, nil
}

func makeRoot(ctx context.Context, dir, root string) error {
	tmp, err := os.MkdirTemp(dir, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	debs, err := download(ctx, filepath.Join(tmp, "debs"))
	if err != nil {
		return err
	}
	making := filepath.Join(tmp, "root")
	if err := unpack(ctx, making, debs); err != nil {
		return err
	}
	if err := finish(ctx, making); err != nil {
		return err
	}
	return os.Rename(making, root)
}

// download fetches the packages and all they depend on, as for a machine that has
// none, through the machine's own apt configuration.
func download(ctx context.Context, into string) ([]string, error) {
	if err := os.MkdirAll(filepath.Join(into, "partial"), 0o755); err != nil {
		return nil, err
	}
	status := filepath.Join(into, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	fetch := append([]string{"-qq", "-y", "--download-only", "--no-install-recommends",
		"-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + into,
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=3",
		"install"}, guestPackages...)
	var err error
	for range 3 {
		if err = run(ctx, "apt-get", fetch...); err == nil {
			return filepath.Glob(filepath.Join(into, "*.deb"))
		}
		// Lists that are absent, or older than the mirror.
		if up := run(ctx, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", "update"); up != nil {
			err = errors.Join(err, up)
		}
		time.Sleep(3 * time.Second)
	}
	return nil, fmt.Errorf("guest packages: %w", err)
}

// unpack lays packages out without configuring them: their scripts would want a
// running Debian. finish does by hand what little is needed of that.
func unpack(ctx context.Context, root string, debs []string) error {
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "var", "root", "mnt", "job",
		"usr/bin", "usr/sbin", "usr/lib", "usr/lib64"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
			return err
		}
	}
	for _, deb := range debs {
		const pipe = `set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink ` +
			`--exclude=./usr/share/doc/* --exclude=./usr/share/man/* --exclude=./usr/share/locale/* --exclude=./usr/share/info/*`
		if err := run(ctx, "bash", "-c", pipe, "unpack", deb, root); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

func finish(ctx context.Context, root string) error {
	in := func(name string) string { return filepath.Join(root, name) }
	if _, err := os.Lstat(in("usr/bin/sh")); err != nil {
		if err := os.Symlink("dash", in("usr/bin/sh")); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\n",
		"etc/group":  "root:x:0:\n",
		"etc/hosts":  "127.0.0.1 localhost\n",
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// pppd runs these whenever a link comes or goes; they look for a resolver and a
	// mail queue that the guest does not have, and cost a second of forks.
	for _, script := range []string{"ip-pre-up", "ip-up", "ip-down", "ipv6-up", "ipv6-down"} {
		if err := os.RemoveAll(in("etc/ppp/" + script)); err != nil {
			return err
		}
	}
	modules, err := filepath.Glob(in("usr/lib/uml/modules/*"))
	if err != nil || len(modules) == 0 {
		return fmt.Errorf("user-mode-linux brought no modules (%w)", err)
	}
	if err := os.MkdirAll(in("usr/lib/modules"), 0o755); err != nil {
		return err
	}
	for _, m := range modules {
		version := filepath.Base(m)
		if err := os.Symlink("../uml/modules/"+version, in("usr/lib/modules/"+version)); err != nil {
			return err
		}
	}

	plugins, err := filepath.Glob(in("usr/lib/pppd/*"))
	if err != nil || len(plugins) != 1 {
		return fmt.Errorf("where do pppd's plugins go: %v (%w)", plugins, err)
	}
	source := in("usr/src/kpptp.c")
	if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(source, pluginSource, 0o644); err != nil {
		return err
	}
	// -w: pppd's own headers do not compile without warnings.
	return run(ctx, "gcc", "-O2", "-w", "-shared", "-fPIC", "-I"+in("usr/include"),
		"-o", filepath.Join(plugins[0], "kpptp.so"), source)
}

// installInit builds the guest's first process and puts it into the image under
// the name of its content, so that guests of an older build are not disturbed.
func installInit(ctx context.Context, root string) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(root), "init-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	tmp.Close()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "integration", "-o", tmp.Name(),
		"postern/integration/clientvm/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest's first process: %w\n%s", err, out)
	}
	binary, err := os.ReadFile(tmp.Name())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(binary)
	init := fmt.Sprintf("/usr/sbin/guest-%x", sum[:6])
	if _, err := os.Stat(root + init); err == nil {
		return init, nil
	}
	if err := os.Chmod(tmp.Name(), 0o755); err != nil {
		return "", err
	}
	return init, os.Rename(tmp.Name(), root+init)
}

func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastLines(out))
	}
	return nil
}

func lastLines(out []byte) string {
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
