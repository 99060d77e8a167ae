package samba

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Cert is which certificate a controller shows.
type Cert uint8

const (
	Good      Cert = iota
	NoSAN          // the name in the subject only, as Samba makes them itself
	WrongName      // of another host
	Expired
)

// Options say how a controller differs from the usual.
type Options struct {
	// NTLMAuth is smb.conf's `ntlm auth`. "": mschapv2-and-ntlmv2-only, without which
	// MS-CHAPv2 is refused; "default" leaves it out.
	NTLMAuth string
	Cert     Cert
	Name     string // of the host; "": dc1
	// In runs a function in the network that the controller is to be in; nil: this one.
	In func(func())
}

// The domain and its accounts. Everybody else's password is Name-Pass1.
const (
	Realm   = "LAB.EXAMPLE"
	Domain  = "lab.example"
	NetBIOS = "LAB"
	BaseDN  = "DC=lab,DC=example"

	adminPassword   = "Adm1n-Passw0rd"
	machineAccount  = "RGW$"
	machinePassword = "Gateway-Secret-1"
	bindUser        = "svc-ldap"
	bindPassword    = "Svc-Ldap-Pass1"
)

// DC is a running domain controller.
type DC struct {
	Options
	Addr    netip.Addr
	Host    string // dc1.lab.example
	Realm   string
	Domain  string
	NetBIOS string
	BaseDN  string
	CAFile  string

	MachineAccount, MachinePassword string // a member's, for NETLOGON
	BindUser, BindPassword          string // an ordinary account, for LDAP
	AdminUser, AdminPassword        string
	Krb5Conf, Keytab                string // of BindUser

	dir  string
	lock *os.File // holds Addr

	mu  sync.Mutex
	cmd *exec.Cmd
	end chan struct{} // closed when cmd has ended
	out bytes.Buffer
}

// Start starts a controller that ends with the test. A test on a machine without
// Samba, or without root, skips.
func Start(t testing.TB, o Options) *DC {
	t.Helper()
	need(t)
	if o.Name == "" {
		o.Name = "dc1"
	}
	d := &DC{
		Options: o, Host: o.Name + "." + Domain, Realm: Realm, Domain: Domain, NetBIOS: NetBIOS, BaseDN: BaseDN,
		MachineAccount: machineAccount, MachinePassword: machinePassword,
		BindUser: bindUser + "@" + Domain, BindPassword: bindPassword,
		AdminUser: "Administrator@" + Domain, AdminPassword: adminPassword,
	}
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("Samba at %v printed at last:\n%s", d.Addr, d.last(40))
		}
		if err := d.release(); err != nil {
			t.Errorf("remove the domain controller's tree: %v", err)
		}
	})
	if err := d.prepare(); err != nil {
		t.Fatalf("prepare a domain controller: %v", err)
	}
	if err := d.boot(); err != nil {
		t.Fatalf("start a domain controller: %v\n%s", err, d.last(40))
	}
	return d
}

// need skips where Samba cannot run.
func need(t testing.TB) {
	t.Helper()
	for _, p := range []string{"samba", "samba-tool"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed (integration/apt.sh)", p)
		}
	}
	if _, err := os.Stat("/usr/share/samba/setup/ad-schema"); err != nil {
		t.Skip("samba-ad-provision is not installed (integration/apt.sh)")
	}
	if os.Geteuid() != 0 {
		t.Skip("a domain controller's ports need root")
	}
}

// Version is Samba's own word.
func Version(t testing.TB) string {
	t.Helper()
	need(t)
	out, err := exec.Command("samba", "--version").Output()
	if err != nil {
		t.Fatalf("samba --version: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// prepare makes the controller's tree.
func (d *DC) prepare() error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err := d.takeAddress(cache); err != nil {
		return err
	}
	if err := copyDomain(cache, d.dir); err != nil {
		return err
	}
	d.CAFile = filepath.Join(d.dir, "tls", "ca.pem")
	d.Krb5Conf, d.Keytab = filepath.Join(d.dir, "krb5.conf"), filepath.Join(d.dir, bindUser+".keytab")
	if err := certify(filepath.Join(d.dir, "tls"), d.Host, d.Addr, d.Cert); err != nil {
		return err
	}
	krb5 := fmt.Sprintf(krb5Conf, Realm, Realm, d.Addr)
	if err := os.WriteFile(d.Krb5Conf, []byte(krb5), 0o600); err != nil {
		return err
	}
	return configure(d.dir, d.Addr, d.NTLMAuth)
}

// takeAddress finds a loopback address that no other controller has, of this process
// or another, and the directory that goes with it: who holds the lock has both. What a
// test that was killed has left there goes away.
func (d *DC) takeAddress(cache string) error {
	for i := 1; i < 250; i++ {
		f, err := os.OpenFile(filepath.Join(cache, fmt.Sprintf("samba-%d.lock", i)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		d.Addr = netip.AddrFrom4([4]byte{127, 77, 0, byte(i)})
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !d.free() {
			_ = f.Close()
			continue
		}
		d.lock, d.dir = f, filepath.Join(cache, fmt.Sprintf("dc-%d", i))
		return os.RemoveAll(d.dir)
	}
	return fmt.Errorf("no free address in 127.77.0.0/24")
}

// free says whether nobody listens on the address: somebody with another cache, or a
// controller about to die.
func (d *DC) free() bool {
	for _, port := range []string{"88", "135", "389", "636"} {
		var l net.Listener
		var err error
		d.in(func() { l, err = net.Listen("tcp", net.JoinHostPort(d.Addr.String(), port)) })
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

// release gives address and directory back.
func (d *DC) release() error {
	if d.lock == nil {
		return nil
	}
	err := os.RemoveAll(d.dir)
	return errors.Join(err, d.lock.Close())
}

// boot starts Samba and waits until it answers.
func (d *DC) boot() error {
	cmd := exec.Command("samba", "-s", filepath.Join(d.dir, "etc", "smb.conf"), "-F", "--no-process-group", "-M", "single")
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+d.Krb5Conf)
	cmd.Stdout, cmd.Stderr = d, d
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, end := make(chan error), make(chan struct{})
	go func() {
		// Pdeathsig is about the thread that starts the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var err error
		d.in(func() { err = cmd.Start() })
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(end)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	d.mu.Lock()
	d.cmd, d.end = cmd, end
	d.mu.Unlock()
	return d.ready(cmd, end)
}

// in runs f in the controller's network.
func (d *DC) in(f func()) {
	if d.In == nil {
		f()
		return
	}
	d.In(f)
}

// Freeze stops it where it stands: connections stay open and nothing answers.
func (d *DC) Freeze() {
	d.signal(syscall.SIGSTOP)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && !d.stopped(); {
		time.Sleep(time.Millisecond)
	}
}

// stopped says whether every thread has stopped: a signal takes its time.
func (d *DC) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return true
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.cmd.Process.Pid))
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if i := bytes.LastIndexByte(text, ')'); err == nil && !bytes.HasPrefix(text[i+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

// Resume ends Freeze.
func (d *DC) Resume() { d.signal(syscall.SIGCONT) }

func (d *DC) signal(s syscall.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd != nil {
		_ = d.cmd.Process.Signal(s)
	}
}

// Kill ends it as a power cut does.
func (d *DC) Kill() {
	d.mu.Lock()
	cmd, end := d.cmd, d.end
	d.cmd = nil
	d.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		<-end
	}
}

// Restart boots it again, with the data and the address it had.
func (d *DC) Restart(t testing.TB) {
	t.Helper()
	d.Kill()
	if err := d.boot(); err != nil {
		t.Fatalf("restart the domain controller: %v\n%s", err, d.last(40))
	}
}

// Write takes what Samba prints.
func (d *DC) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(b)
}

// last is the end of what it printed and logged.
func (d *DC) last(lines int) string {
	d.mu.Lock()
	text := d.out.String()
	d.mu.Unlock()
	logs, _ := filepath.Glob(filepath.Join(d.dir, "log", "log.*"))
	for _, name := range logs {
		b, _ := os.ReadFile(name)
		text += string(b)
	}
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
