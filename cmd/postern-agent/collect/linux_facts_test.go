package collect

import (
	"bytes"
	"compress/gzip"
	"os"
	"testing"
	"time"
)

func TestLinuxOS(t *testing.T) {
	p := pretend(t, "linux")
	p.file("etc/os-release", "<os-release.debian")
	p.want("os", "linux 12", "")
	p.file("etc/debian_version", "12.5\n")
	p.want("os", "linux 12.5", "")
	p.file("etc/debian_version", "trixie/sid\n")
	p.want("os", "linux 12", "")
	p.file("etc/os-release", "<os-release.fedora")
	p.want("os", "linux 41", "")
	p.file("etc/os-release", "<os-release.arch")
	p.want("os", "linux", "not dotted numbers")
}

func TestLinuxPatched(t *testing.T) {
	p := pretend(t, "linux")
	p.want("patched", "unknown", "no package manager")
	p.file("var/lib/dpkg/status", "x")
	p.want("patched", "unknown", "history.log")
	p.file("var/log/apt/history.log", "<apt-history.log")
	p.want("patched", "2026-02-18T06:41:29Z", "") // what was installed is no patch
	p.file("var/lib/apt/periodic/unattended-upgrades-stamp", "")
	p.want("patched", "2026-02-18T06:41:29Z", "")
	p.touch("var/lib/apt/periodic/unattended-upgrades-stamp", noon.Add(-6*time.Hour))
	p.want("patched", "2026-03-09T06:00:00Z", "")

	p = pretend(t, "linux")
	p.m.Now = func() time.Time { return noon.In(time.FixedZone("CET", 3600)) }
	p.file("var/lib/dpkg/status", "x")
	p.file("var/log/apt/history.log", "")
	p.want("patched", "unknown", "nothing was upgraded")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(sample(t, "apt-history.log"))
	_ = w.Close()
	p.file("var/log/apt/history.log.1.gz", z.String())
	p.want("patched", "2026-02-18T05:41:29Z", "")

	p = pretend(t, "linux")
	p.file("var/lib/rpm/rpmdb.sqlite", "")
	p.want("patched", "unknown", "not installed")
	p.tools["rpm -qa"] = "rpm-times"
	p.want("patched", "2026-02-18T06:01:19Z", "")
	p.tools["rpm -qa"] = "=1099511627000\n"
	p.want("patched", "unknown", "cannot be")
	p.tools["rpm -qa"] = "=(none)\n"
	p.want("patched", "unknown", "no package has a date")

	p = pretend(t, "linux")
	p.file("var/log/pacman.log", "<pacman.log")
	p.want("patched", "2026-01-11T09:12:40Z", "")
}

func TestLinuxEncrypted(t *testing.T) {
	p := pretend(t, "linux")
	for name, want := range map[string][2]string{
		"lsblk.luks": {"yes", ""}, "lsblk.bare": {"no", ""}, "lsblk.container": {"unknown", "on no disk"}, "=x": {"unknown", "not understood"},
		"!lsblk: cannot open": {"unknown", "cannot open"},
	} {
		p.tools["lsblk -J"] = name
		p.want("disk_encrypted", want[0], want[1])
	}
	delete(p.tools, "lsblk -J")
	p.want("disk_encrypted", "unknown", "shows no disk")
	p.file("sys/block/dm-0/dm/uuid", "LVM-abc\n")
	p.want("disk_encrypted", "no", "")
	p.file("sys/block/dm-1/dm/uuid", "CRYPT-LUKS2-abc\n")
	p.want("disk_encrypted", "unknown", "without lsblk")
}

func TestLinuxFirewall(t *testing.T) {
	p := pretend(t, "linux")
	for _, c := range []struct{ nft, iptables, firewalld, want, why string }{
		{nft: "nft.drop", want: "yes"},
		{nft: "nft.firewalld", want: "yes"},
		{nft: "nft.ufw", want: "yes"},
		{nft: "nft.fail2ban", want: "no"},
		{nft: "=", want: "no"},
		{nft: "=", iptables: "iptables.on", want: "yes"},
		{iptables: "iptables.on", want: "yes"},
		{iptables: "iptables.off", want: "no"},
		{nft: "=", iptables: "=what", want: "no"},
		{iptables: "=what", want: "unknown", why: "not understood"},
		{nft: "!nft: Operation not permitted", iptables: "!iptables: denied", want: "unknown", why: "Operation not permitted"},
		{nft: "!nft: Operation not permitted", firewalld: "=running\n", want: "yes"},
		{firewalld: "=not running\n", want: "no"},
		{firewalld: "=failed\n", want: "unknown", why: "not understood"},
	} {
		p.tools = map[string]string{}
		for tool, answer := range map[string]string{"nft list": c.nft, "iptables -S": c.iptables, "firewall-cmd": c.firewalld} {
			if answer != "" {
				p.tools[tool] = answer
			}
		}
		p.want("firewall", c.want, c.why)
	}
}

func TestLinuxAntivirus(t *testing.T) {
	p := pretend(t, "linux")
	p.file("proc/1/comm", "systemd\n")
	p.want("antivirus", "unknown", "no antivirus that the agent knows")
	p.file("proc/812/comm", "clamd\n")
	p.want("antivirus", "unknown", "definitions are not")
	p.file("var/lib/clamav/daily.cld", "x")
	p.want("antivirus", "no", "")
	p.touch("var/lib/clamav/daily.cld", noon.Add(-24*time.Hour))
	p.want("antivirus", "yes", "")
	p.tools["real_time"], p.tools["definitions_status"] = "=true\n", "=\"up_to_date\"\n"
	p.want("antivirus", "yes", "")
	p.tools["definitions_status"] = "=\"out_of_date\"\n"
	p.want("antivirus", "no", "")
	p.tools["real_time"] = "=??\n"
	p.want("antivirus", "unknown", "not understood")
	p.tools["real_time"] = "!mdatp: no connection to the service"
	p.want("antivirus", "unknown", "no connection")
}

func TestLinuxLock(t *testing.T) {
	p := pretend(t, "linux")
	p.want("screen_lock", "unknown", "loginctl: not installed")
	p.tools["loginctl list-sessions"] = "loginctl.sessions"
	p.tools["show-session 2 "] = "loginctl.user"
	p.tools["show-session c1 "] = "loginctl.greeter"
	p.want("screen_lock", "unknown", "runuser: not installed")
	p.tools["lock-enabled"], p.tools["idle-delay"] = "=true\n", "=uint32 300\n"
	p.want("screen_lock", "yes", "")
	p.tools["idle-delay"] = "=uint32 0\n"
	p.want("screen_lock", "no", "")
	p.tools["lock-enabled"], p.tools["idle-delay"] = "=false\n", "=uint32 300\n"
	p.want("screen_lock", "no", "")
	p.tools["idle-delay"] = "=never\n"
	p.want("screen_lock", "unknown", "not understood")
	p.tools["show-session 2 "] = "loginctl.greeter"
	p.want("screen_lock", "unknown", "nobody sits before it")
	p.m.Admin = false
	p.tools["idle-delay"], p.tools["lock-enabled"] = "=uint32 300\n", "=true\n"
	p.want("screen_lock", "yes", "")
}

func TestBooted(t *testing.T) {
	p := pretend(t, "linux")
	for text, want := range map[string]string{"3600.52 7000.00\n": "2026-03-09T10:59:59Z", "": "unknown", "NaN 1": "unknown", "-1 1": "unknown", "1e300 1": "unknown"} {
		p.file("proc/uptime", text)
		if f := p.find("booted"); f.Value != want {
			t.Errorf("%q: %+v", text, f)
		}
	}
}

// Of a file that is too long the end is read: logs grow there.
func TestRead(t *testing.T) {
	p := pretend(t, "linux")
	big := bytes.Repeat([]byte("x"), maxRead+10)
	copy(big[maxRead:], "0123456789")
	p.file("log", string(big))
	b, err := p.m.read("log")
	if err != nil || len(b) != maxRead || !bytes.HasSuffix(b, []byte("0123456789")) {
		t.Errorf("%d octets, %v", len(b), err)
	}
	if _, err := p.m.read("nothing"); err == nil || err.Error() != "nothing: "+os.ErrNotExist.Error() && err.Error() != "nothing: no such file or directory" {
		t.Error(err)
	}
}
