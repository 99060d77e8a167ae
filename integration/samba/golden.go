package samba

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

//go:embed fixture.py
var fixture string

// provision runs samba-tool without the step that sets sysvol's ACLs.
const provision = `import sys, samba.provision as P
P.setsysvolacl = lambda *a, **k: None
from samba.netcmd.main import cmd_sambatool
try: rc = cmd_sambatool()._run("samba-tool", *sys.argv[1:])
except SystemExit as e: rc = e.code
sys.exit(rc or 0)
`

// lifetime of a domain on disk. Passwords in it expire after 42 days.
const lifetime = 30 * 24 * time.Hour

// cacheDir is where domains are kept, and where controllers run.
func cacheDir() (string, error) {
	dir := os.Getenv("POSTERN_TEST_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "postern-test")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	// unix(7): a socket's name has 108 octets, and Samba's are well inside the tree.
	if len(dir) > 60 {
		return "", fmt.Errorf("%s is too long a name for sockets below it: set POSTERN_TEST_CACHE", dir)
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// copyDomain copies the tree of a domain with the fixture, made if there is none.
func copyDomain(cache, to string) error {
	version, err := exec.Command("samba", "--version").Output()
	if err != nil {
		return fmt.Errorf("samba --version: %w", err)
	}
	sum := sha256.Sum256(fmt.Append(nil, string(version), fixture, provision, smbConf, adminPassword, machinePassword, bindPassword))
	tree := filepath.Join(cache, fmt.Sprintf("samba-%x", sum[:6]))

	// One process makes it, the others wait; nobody makes it anew while another copies.
	lock, err := os.OpenFile(tree+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	info, err := os.Stat(filepath.Join(tree, "made"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || time.Since(info.ModTime()) > lifetime {
		if err := os.RemoveAll(tree); err != nil {
			return err
		}
		if err := makeTree(tree); err != nil {
			return fmt.Errorf("provision a domain: %w", errors.Join(err, os.RemoveAll(tree)))
		}
	}
	if out, err := exec.Command("cp", "-a", "--reflink=auto", tree, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", tree, err, out)
	}
	for _, gone := range []string{"log", "lock"} {
		if err := os.RemoveAll(filepath.Join(to, gone)); err != nil {
			return err
		}
	}
	return nil
}

// makeTree provisions the domain and puts the fixture in.
func makeTree(tree string) error {
	work := filepath.Join(tree, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	files := map[string]string{"empty.conf": "", "provision.py": provision, "fixture.py": fixture}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	addr := netip.MustParseAddr("127.0.0.1")
	python := func(args ...string) error {
		out, err := exec.Command("/usr/bin/python3", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("python3 %s: %w\n%s", filepath.Base(args[0]), err, out[max(0, len(out)-2000):])
		}
		return nil
	}
	if err := python(filepath.Join(work, "provision.py"), "domain", "provision", "-s", filepath.Join(work, "empty.conf"),
		"--targetdir="+tree, "--realm="+Realm, "--domain="+NetBIOS, "--host-name=dc1", "--host-ip="+addr.String(),
		"--server-role=dc", "--dns-backend=NONE", "--adminpass="+adminPassword, "--option=ldb:nosync=yes"); err != nil {
		return err
	}
	if err := authority(filepath.Join(tree, "tls")); err != nil {
		return err
	}
	if err := configure(tree, addr, ""); err != nil {
		return err
	}
	conf := filepath.Join(tree, "etc", "smb.conf")
	if err := python(filepath.Join(work, "fixture.py"), conf, machineAccount, machinePassword, bindUser, bindPassword); err != nil {
		return err
	}
	keytab := filepath.Join(tree, bindUser+".keytab")
	if out, err := exec.Command("samba-tool", "domain", "exportkeytab", keytab, "--principal="+bindUser+"@"+Realm, "-s", conf).CombinedOutput(); err != nil {
		return fmt.Errorf("export keytab: %w\n%s", err, out)
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(tree, "made"), nil, 0o600)
}
