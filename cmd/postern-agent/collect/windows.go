package collect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postern/internal/report"
)

var errNoRegistry = errors.New("no registry")

const currentVersion = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`

// windowsOS is major.minor.build.revision; the revision is the cumulative update.
func windowsOS(_ context.Context, m *Machine) (func(*report.Facts), error) {
	only := func(f *report.Facts) { f.OS = "windows" }
	if m.Registry == nil {
		return only, errNoRegistry
	}
	var parts []string
	for _, name := range []string{"CurrentMajorVersionNumber", "CurrentMinorVersionNumber", "CurrentBuildNumber", "UBR"} {
		text, n, err := m.Registry.Value(currentVersion, name)
		switch {
		case err != nil && name == "UBR": // the first release has none
			continue
		case err != nil:
			return only, fmt.Errorf("registry: %s: %w", name, err)
		case text == "":
			text = strconv.FormatUint(n, 10)
		}
		parts = append(parts, text)
	}
	return setOS("windows", strings.Join(parts, "."))
}

// powerShell runs a script that writes JSON or lines. Nothing but the system's own
// PowerShell is run: this may be SYSTEM, and the path anybody's.
func (m *Machine) powerShell(ctx context.Context, script string) ([]byte, error) {
	root := os.Getenv("SystemRoot")
	if root == "" {
		root = `C:\Windows`
	}
	b, err := m.Run(ctx, filepath.Join(root, "System32", "WindowsPowerShell", "v1.0", "powershell.exe"), "-NoProfile", "-NonInteractive", "-Command",
		"$ErrorActionPreference='Stop'; [Console]::OutputEncoding=[Text.Encoding]::UTF8; "+script)
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), err
}

// What PowerShell is asked.
const (
	askHotfixes  = `Get-CimInstance Win32_QuickFixEngineering | ForEach-Object { if ($_.InstalledOn) { $_.InstalledOn.ToString('yyyy-MM-dd', [Globalization.CultureInfo]::InvariantCulture) } }`
	askVolumes   = `ConvertTo-Json -Compress @(Get-CimInstance -Namespace root/CIMV2/Security/MicrosoftVolumeEncryption Win32_EncryptableVolume | Select-Object DriveLetter, VolumeType, ProtectionStatus)`
	askAntivirus = `ConvertTo-Json -Compress @(Get-CimInstance -Namespace root/SecurityCenter2 AntiVirusProduct | Select-Object displayName, productState)`
	askDefender  = `ConvertTo-Json -Compress (Get-MpComputerStatus | Select-Object AntivirusEnabled, RealTimeProtectionEnabled, AntivirusSignatureAge)`
)

// windowsPatched is the last update of the system that was installed. What Windows
// Update says of itself counts where there is no list: its last success may have been
// virus definitions.
func windowsPatched(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.powerShell(ctx, askHotfixes)
	if err == nil {
		if t := parseHotfixes(b); !t.IsZero() {
			return setPatched(t), nil
		}
		err = errors.New("no update has a date")
	}
	if m.Registry != nil {
		const results = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\Results\Install`
		if text, _, rerr := m.Registry.Value(results, "LastSuccessTime"); rerr == nil {
			if t, terr := time.Parse("2006-01-02 15:04:05", text); terr == nil { // UTC
				return setPatched(t), nil
			}
		}
	}
	return nil, err
}

// parseHotfixes finds the last of some days.
func parseHotfixes(b []byte) (last time.Time) {
	for line := range strings.Lines(string(b)) {
		if t, err := time.Parse(time.DateOnly, strings.TrimSpace(line)); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// windowsEncrypted says whether BitLocker protects every fixed volume that has a letter.
func windowsEncrypted(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.powerShell(ctx, askVolumes)
	if err != nil {
		return nil, err
	}
	a, err := parseVolumes(b)
	return setEncrypted(a), err
}

// What Win32_EncryptableVolume says.
const (
	volumeRemovable     = 2
	protectionOff       = 0
	protectionOn        = 1
	maxWindowsAnswers   = 1000
	securityCenterState = 0xF000 // of productState: the scanner
	securityCenterOn    = 0x1000
	securityCenterOld   = 0x00F0 // of productState: the definitions
)

// parseVolumes reads Win32_EncryptableVolume as JSON.
func parseVolumes(b []byte) (report.Answer, error) {
	type volume struct {
		DriveLetter                  *string
		VolumeType, ProtectionStatus *int
	}
	all, err := parseList[volume](b)
	if err != nil {
		return report.Unknown, fmt.Errorf("Win32_EncryptableVolume: %w", err)
	}
	answer := report.Unknown
	for _, v := range all {
		switch {
		case v.DriveLetter == nil || *v.DriveLetter == "" || v.VolumeType != nil && *v.VolumeType == volumeRemovable:
			continue
		case v.ProtectionStatus == nil || *v.ProtectionStatus != protectionOff && *v.ProtectionStatus != protectionOn:
			return report.Unknown, fmt.Errorf("whether %s is protected is not known", *v.DriveLetter)
		case *v.ProtectionStatus == protectionOff:
			answer = report.No
		case answer == report.Unknown:
			answer = report.Yes
		}
	}
	if answer == report.Unknown {
		return answer, errors.New("no fixed volume was shown")
	}
	return answer, nil
}

// windowsFirewall says whether Windows' own firewall is on in all three profiles, a
// group policy first. That of another maker is not known to be on.
func windowsFirewall(_ context.Context, m *Machine) (func(*report.Facts), error) {
	if m.Registry == nil {
		return nil, errNoRegistry
	}
	const (
		policies = `HKLM\SOFTWARE\Policies\Microsoft\WindowsFirewall\`
		local    = `HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\`
	)
	on := true
	for policy, profile := range map[string]string{"DomainProfile": "DomainProfile", "PrivateProfile": "StandardProfile", "PublicProfile": "PublicProfile"} {
		_, n, err := m.Registry.Value(policies+policy, "EnableFirewall")
		if err != nil {
			_, n, err = m.Registry.Value(local+profile, "EnableFirewall")
		}
		if err != nil {
			return nil, fmt.Errorf("registry: %s: %w", profile, err)
		}
		on = on && n == 1
	}
	return setFirewall(report.AnswerOf(on)), nil
}

// windowsAntivirus asks the security center, which clients have, or else Defender.
func windowsAntivirus(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.powerShell(ctx, askAntivirus)
	if err == nil {
		a, err := parseAntivirus(b)
		return setAntivirus(a), err
	}
	b, derr := m.powerShell(ctx, askDefender)
	if derr != nil {
		return nil, errors.Join(err, derr)
	}
	a, derr := parseDefender(b)
	return setAntivirus(a), derr
}

// parseAntivirus reads AntiVirusProduct as JSON: one must be on and up to date.
func parseAntivirus(b []byte) (report.Answer, error) {
	type product struct{ ProductState *uint32 }
	all, err := parseList[product](b)
	if err != nil {
		return report.Unknown, fmt.Errorf("AntiVirusProduct: %w", err)
	}
	answer := report.No
	for _, p := range all {
		switch {
		case p.ProductState == nil:
			return report.Unknown, errors.New("AntiVirusProduct: a product without a state")
		case *p.ProductState&securityCenterState == securityCenterOn && *p.ProductState&securityCenterOld == 0:
			answer = report.Yes
		}
	}
	return answer, nil
}

// parseDefender reads Get-MpComputerStatus as JSON.
func parseDefender(b []byte) (report.Answer, error) {
	var s struct {
		AntivirusEnabled, RealTimeProtectionEnabled *bool
		AntivirusSignatureAge                       *uint32 // days
	}
	if err := json.Unmarshal(b, &s); err != nil || s.AntivirusEnabled == nil || s.RealTimeProtectionEnabled == nil || s.AntivirusSignatureAge == nil {
		return report.Unknown, errors.New("Get-MpComputerStatus: not understood")
	}
	fresh := time.Duration(*s.AntivirusSignatureAge)*24*time.Hour <= definitionsLife && *s.AntivirusSignatureAge < maxWindowsAnswers
	return report.AnswerOf(*s.AntivirusEnabled && *s.RealTimeProtectionEnabled && fresh), nil
}

// windowsLock asks the machine's policy, or else the settings of everybody who is signed
// in: all must lock.
func windowsLock(_ context.Context, m *Machine) (func(*report.Facts), error) {
	if m.Registry == nil {
		return nil, errNoRegistry
	}
	const system = `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`
	if _, seconds, err := m.Registry.Value(system, "InactivityTimeoutSecs"); err == nil && seconds > 0 {
		return setLock(report.Yes), nil
	}
	users, err := m.Registry.Keys("HKU")
	if err != nil {
		return nil, fmt.Errorf("registry: users: %w", err)
	}
	answer := report.Unknown
	for _, sid := range users {
		if !strings.HasPrefix(sid, "S-1-5-21-") && !strings.HasPrefix(sid, "S-1-12-1-") || strings.HasSuffix(sid, "_Classes") {
			continue // services; S-1-12-1 are Entra's users
		}
		setting := func(name string) string {
			for _, path := range []string{`\Software\Policies\Microsoft\Windows\Control Panel\Desktop`, `\Control Panel\Desktop`} {
				if text, _, err := m.Registry.Value(`HKU\`+sid+path, name); err == nil {
					return text
				}
			}
			return ""
		}
		seconds, _ := strconv.Atoi(setting("ScreenSaveTimeOut")) // 0: never
		if setting("ScreenSaveActive") != "1" || setting("ScreenSaverIsSecure") != "1" || seconds <= 0 {
			return setLock(report.No), nil
		}
		answer = report.Yes
	}
	if answer == report.Unknown {
		return nil, errors.New("nobody is signed in, and no policy says it")
	}
	return setLock(answer), nil
}

// parseList reads what ConvertTo-Json makes of a list: PowerShell 5 writes a list of one
// as that one.
func parseList[T any](b []byte) ([]T, error) {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '{' {
		b = append(append([]byte{'['}, b...), ']')
	}
	var all []T
	if err := json.Unmarshal(b, &all); err != nil || len(all) > maxWindowsAnswers {
		return nil, errors.New("not understood")
	}
	return all, nil
}
