package collect

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// values is a registry of what it holds: strings and numbers, by path and name.
type values map[string]any

var errNotThere = errors.New("not there")

func (v values) Value(path, name string) (string, uint64, error) {
	switch x := v[path+`\`+name].(type) {
	case string:
		return x, 0, nil
	case int:
		return "", uint64(x), nil
	}
	return "", 0, errNotThere
}

func (v values) Keys(path string) ([]string, error) {
	keys, ok := v[path].([]string)
	if !ok {
		return nil, errNotThere
	}
	return slices.Clone(keys), nil
}

func onWindows(t testing.TB) (*pretended, values) {
	p := pretend(t, "windows")
	v := values{}
	p.m.Registry = v
	p.m.Uptime = func() (time.Duration, error) { return 26 * time.Hour, nil }
	return p, v
}

func TestWindowsOS(t *testing.T) {
	p, v := onWindows(t)
	p.want("os", "windows", "not there")
	v[currentVersion+`\CurrentMajorVersionNumber`], v[currentVersion+`\CurrentMinorVersionNumber`] = 10, 0
	v[currentVersion+`\CurrentBuildNumber`] = "19045"
	p.want("os", "windows 10.0.19045", "")
	v[currentVersion+`\UBR`] = 3570
	p.want("os", "windows 10.0.19045.3570", "")
	p.want("booted", "2026-03-08T10:00:00Z", "")
}

func TestWindowsPatched(t *testing.T) {
	p, v := onWindows(t)
	p.want("patched", "unknown", "not installed")
	v[`HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\Results\Install\LastSuccessTime`] = "2026-03-01 03:12:44"
	p.want("patched", "2026-03-01T03:12:44Z", "")
	p.tools["Win32_QuickFixEngineering"] = "hotfixes"
	p.want("patched", "2026-02-11T00:00:00Z", "")
	p.tools["Win32_QuickFixEngineering"] = "=\r\n"
	p.want("patched", "2026-03-01T03:12:44Z", "")
}

func TestWindowsEncrypted(t *testing.T) {
	p, _ := onWindows(t)
	for answer, want := range map[string][2]string{
		"volumes.on": {"yes", ""}, "volumes.off": {"no", ""}, "volumes.locked": {"unknown", "D: is protected"},
		"=[]": {"unknown", "no fixed volume"}, "=null": {"unknown", "no fixed volume"}, "=x": {"unknown", "not understood"},
		"!powershell.exe: Access denied": {"unknown", "Access denied"},
	} {
		p.tools["Win32_EncryptableVolume"] = answer
		p.want("disk_encrypted", want[0], want[1])
	}
}

func TestWindowsFirewall(t *testing.T) {
	p, v := onWindows(t)
	const local = `HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\`
	p.want("firewall", "unknown", "not there")
	for _, profile := range []string{"DomainProfile", "StandardProfile", "PublicProfile"} {
		v[local+profile+`\EnableFirewall`] = 1
	}
	p.want("firewall", "yes", "")
	v[local+`StandardProfile\EnableFirewall`] = 0
	p.want("firewall", "no", "")
	v[`HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall\PrivateProfile\EnableFirewall`] = 1 // which counts before
	p.want("firewall", "yes", "")
}

func TestWindowsAntivirus(t *testing.T) {
	p, _ := onWindows(t)
	for answer, want := range map[string]string{"antivirus.defender": "yes", "antivirus.third": "yes", "antivirus.old": "no", "=[]": "no"} {
		p.tools["AntiVirusProduct"] = answer
		p.want("antivirus", want, "")
	}
	p.tools["AntiVirusProduct"] = "=[{}]"
	p.want("antivirus", "unknown", "without a state")
	p.tools["AntiVirusProduct"] = "!powershell.exe: Invalid namespace" // a server
	p.want("antivirus", "unknown", "Invalid namespace")
	for answer, want := range map[string]string{"defender.on": "yes", "defender.never": "no"} {
		p.tools["Get-MpComputerStatus"] = answer
		p.want("antivirus", want, "")
	}
	p.tools["Get-MpComputerStatus"] = "={}"
	p.want("antivirus", "unknown", "not understood")
}

func TestWindowsLock(t *testing.T) {
	p, v := onWindows(t)
	p.want("screen_lock", "unknown", "not there")
	const sid = "S-1-5-21-1-2-3-1001"
	v["HKU"] = []string{".DEFAULT", "S-1-5-18", sid + "_Classes"}
	p.want("screen_lock", "unknown", "nobody is signed in")
	v["HKU"] = append(v["HKU"].([]string), sid)
	p.want("screen_lock", "no", "")
	desktop := `HKU\` + sid + `\Control Panel\Desktop\`
	v[desktop+"ScreenSaveActive"], v[desktop+"ScreenSaverIsSecure"], v[desktop+"ScreenSaveTimeOut"] = "1", "1", "600"
	p.want("screen_lock", "yes", "")
	v[`HKU\`+sid+`\Software\Policies\Microsoft\Windows\Control Panel\Desktop\ScreenSaverIsSecure`] = "0"
	p.want("screen_lock", "no", "")
	v[`HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System\InactivityTimeoutSecs`] = 900
	p.want("screen_lock", "yes", "")
}
