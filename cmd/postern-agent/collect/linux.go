package collect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/report"
)

// linuxOS is the distribution's version: policies ask whether it is still supported.
func linuxOS(_ context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.read("etc/os-release")
	if err != nil {
		if b, err = m.read("usr/lib/os-release"); err != nil {
			return func(f *report.Facts) { f.OS = "linux" }, err
		}
	}
	id, version := parseOSRelease(b)
	if id == "debian" { // which has the point release elsewhere
		if b, err := m.read("etc/debian_version"); err == nil {
			if v := strings.TrimSpace(string(b)); strings.HasPrefix(v, version+".") && report.IsVersion(v) {
				version = v
			}
		}
	}
	return setOS("linux", version)
}

// parseOSRelease reads os-release(5).
func parseOSRelease(b []byte) (id, version string) {
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch name {
		case "ID":
			id = value
		case "VERSION_ID":
			version = value
		}
	}
	return id, version
}

func (m *Machine) procUptime() (time.Duration, error) {
	b, err := m.read("proc/uptime")
	if err != nil {
		return 0, err
	}
	return parseUptime(b)
}

// maxUptime is more than any machine has been up, and far less than a Duration holds.
const maxUptime = 100 * 365 * 24 * 3600

// parseUptime reads /proc/uptime: seconds since the start, and idle ones.
func parseUptime(b []byte) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil || !(s >= 0 && s < maxUptime) {
		return 0, errors.New("uptime: not understood")
	}
	return time.Duration(s * float64(time.Second)), nil
}

// linuxPatched is when packages were upgraded last, or unattended-upgrades found that
// there was nothing to do.
func linuxPatched(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	switch {
	case !m.changed("var/lib/dpkg/status").IsZero():
		return m.aptPatched()
	case !m.changed("var/lib/rpm").IsZero(), !m.changed("usr/lib/sysimage/rpm").IsZero():
		b, err := m.Run(ctx, "rpm", "-qa", "--qf", `%{INSTALLTIME}\n`)
		if err != nil {
			return nil, err
		}
		if t := parseRPMTimes(b); !t.IsZero() {
			return setPatched(t), nil
		}
		return nil, errors.New("rpm: no package has a date")
	case !m.changed("var/log/pacman.log").IsZero():
		b, err := m.read("var/log/pacman.log")
		if err != nil {
			return nil, err
		}
		if t := parsePacman(b); !t.IsZero() {
			return setPatched(t), nil
		}
		return nil, errors.New("pacman.log: nothing was upgraded")
	}
	return nil, errors.New("no package manager that the agent knows")
}

func (m *Machine) aptPatched() (func(*report.Facts), error) {
	var last time.Time
	b, err := m.read("var/log/apt/history.log")
	if err == nil {
		last = parseAptHistory(b, m.Now().Location())
	}
	if last.IsZero() { // the log is new each month
		if z, zerr := m.readZip("var/log/apt/history.log.1.gz"); zerr == nil {
			last = parseAptHistory(z, m.Now().Location())
		}
	}
	if t := m.changed("var/lib/apt/periodic/unattended-upgrades-stamp"); t.After(last) {
		last = t
	}
	switch {
	case !last.IsZero():
		return setPatched(last), nil
	case err != nil:
		return nil, err
	}
	return nil, errors.New("apt's log: nothing was upgraded in the last months")
}

// parseAptHistory finds the last upgrade in /var/log/apt/history.log; its times are
// local ones.
func parseAptHistory(b []byte, zone *time.Location) (last time.Time) {
	upgraded := false
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch name {
		case "Start-Date":
			upgraded = false
		case "Upgrade":
			upgraded = true
		case "End-Date":
			t, err := time.ParseInLocation("2006-01-02 15:04:05", strings.Join(strings.Fields(value), " "), zone)
			if err == nil && upgraded && t.After(last) {
				last = t
			}
		}
	}
	return last
}

// parseRPMTimes finds the last of what rpm was asked for: seconds since 1970, one a line.
func parseRPMTimes(b []byte) (last time.Time) {
	for line := range strings.Lines(string(b)) {
		if s, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64); err == nil && s > 0 && s < 1<<40 {
			if t := time.Unix(s, 0); t.After(last) {
				last = t
			}
		}
	}
	return last
}

// parsePacman finds the last upgrade in pacman's log.
//
//	[2024-01-15T10:12:13+0100] [ALPM] upgraded linux (6.6.10-1 -> 6.7-1)
func parsePacman(b []byte) (last time.Time) {
	for line := range strings.Lines(string(b)) {
		stamp, rest, _ := strings.Cut(line, "] ")
		if !strings.HasPrefix(rest, "[ALPM] upgraded ") {
			continue
		}
		if t, err := time.Parse("[2006-01-02T15:04:05-0700", stamp); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// linuxAntivirus knows Microsoft Defender and ClamAV's daemon, with definitions of the
// last week.
func linuxAntivirus(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	b, err := m.Run(ctx, "mdatp", "health", "--field", "real_time_protection_enabled")
	if err == nil {
		on := parseWord(b)
		if on != "true" && on != "false" {
			return nil, errors.New("mdatp: not understood")
		}
		b, err := m.Run(ctx, "mdatp", "health", "--field", "definitions_status")
		if err != nil {
			return nil, err
		}
		return setAntivirus(report.AnswerOf(on == "true" && parseWord(b) == "up_to_date")), nil
	}
	if !errors.Is(err, errNoTool) {
		return nil, err
	}
	for _, name := range m.glob("proc/[0-9]*/comm") {
		b, err := m.read(name)
		if err != nil || strings.TrimSpace(string(b)) != "clamd" {
			continue
		}
		var newest time.Time
		for _, db := range []string{"daily.cld", "daily.cvd", "main.cld", "main.cvd"} {
			if t := m.changed("var/lib/clamav/" + db); t.After(newest) {
				newest = t
			}
		}
		if newest.IsZero() {
			return nil, errors.New("clamd runs, and its definitions are not where they should be")
		}
		return setAntivirus(report.AnswerOf(m.Now().Sub(newest) <= definitionsLife)), nil
	}
	return nil, errors.New("no antivirus that the agent knows")
}

// definitionsLife is how old an antivirus's definitions may be.
const definitionsLife = 7 * 24 * time.Hour

// parseWord takes a word out of the quotes and lines that tools put around it.
func parseWord(b []byte) string { return strings.Trim(strings.TrimSpace(string(b)), `"'`) }

// linuxLock asks GNOME's settings of everybody who sits before the machine: all must lock.
func linuxLock(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	if !m.Admin {
		return m.gnomeLock(ctx)
	}
	b, err := m.Run(ctx, "loginctl", "list-sessions", "--no-legend")
	if err != nil {
		return nil, err
	}
	answer := report.Unknown
	for _, s := range parseSessions(b) {
		b, err := m.Run(ctx, "loginctl", "show-session", s.id, "-p", "Type", "-p", "Class")
		if err != nil {
			return nil, err
		}
		if !isDesktop(b) {
			continue
		}
		dir := "/run/user/" + s.uid
		write, err := m.gnomeLock(ctx, "runuser", "-u", s.user, "--", "env", "XDG_RUNTIME_DIR="+dir, "DBUS_SESSION_BUS_ADDRESS=unix:path="+dir+"/bus")
		if err != nil {
			return nil, err
		}
		var f report.Facts
		if write(&f); f.Lock == report.No {
			return write, nil
		}
		answer = f.Lock
	}
	if answer == report.Unknown {
		return nil, errors.New("nobody sits before it")
	}
	return setLock(answer), nil
}

// gnomeLock asks GNOME, by means of a program that becomes the user first.
func (m *Machine) gnomeLock(ctx context.Context, become ...string) (func(*report.Facts), error) {
	ask := func(schema, key string) (string, error) {
		args := append(append([]string(nil), become...), "gsettings", "get", schema, key)
		b, err := m.Run(ctx, args[0], args[1:]...)
		return parseWord(b), err
	}
	enabled, err := ask("org.gnome.desktop.screensaver", "lock-enabled")
	if err != nil {
		return nil, err
	}
	idle, err := ask("org.gnome.desktop.session", "idle-delay")
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseUint(strings.TrimPrefix(idle, "uint32 "), 10, 32)
	if err != nil || enabled != "true" && enabled != "false" {
		return nil, fmt.Errorf("gsettings: %q and %q are not understood", firstLine(enabled), firstLine(idle))
	}
	return setLock(report.AnswerOf(enabled == "true" && seconds > 0)), nil // 0: never
}

type loginSession struct{ id, uid, user string }

// parseSessions reads `loginctl list-sessions`: session, UID, user, seat and more. One
// without a seat is not before the machine.
func parseSessions(b []byte) []loginSession {
	var all []loginSession
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[3], "seat") {
			continue
		}
		if _, err := strconv.ParseUint(f[1], 10, 32); err == nil && !strings.HasPrefix(f[0], "-") && !strings.HasPrefix(f[2], "-") {
			all = append(all, loginSession{f[0], f[1], f[2]})
		}
	}
	return all
}

// isDesktop reads `loginctl show-session`: a screen that belongs to a user, not to the
// greeter.
func isDesktop(b []byte) bool {
	typed, class := "", ""
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "Type":
			typed = value
		case "Class":
			class = value
		}
	}
	return (typed == "x11" || typed == "wayland") && class == "user"
}
