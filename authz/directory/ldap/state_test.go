package ldap

import (
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
)

// noon is a Wednesday's.
var noon = time.Date(2026, 3, 4, 12, 30, 0, 0, time.UTC)

// attributes are "name: value" lines.
func entryOf(lines ...string) *ldap.Entry {
	attributes := make(map[string][]string)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		attributes[name] = append(attributes[name], value)
	}
	return ldap.NewEntry("uid=alice,dc=corp", attributes)
}

func TestState(t *testing.T) {
	// The hours of Wednesday: octets 9 to 11; 12:00 is the first bit of octet 10, 12 hours in.
	wednesdayNoon := strings.Repeat("00", 10) + "10" + strings.Repeat("00", 10)
	for _, c := range []struct {
		lines string // ; between them
		lock  time.Duration
		want  directory.State
	}{
		{"", 0, directory.Active},
		{"sambaAcctFlags: [U          ]", 0, directory.Active},
		{"sambaAcctFlags: [UX         ];sambaPwdMustChange: 0;sambaPwdLastSet: 0", 0, directory.Active},
		{"sambaAcctFlags: [DU         ]", 0, directory.Disabled},
		{"sambaAcctFlags: [UL         ]", 0, directory.Locked},
		{"sambaAcctFlags: [UDL        ]", 0, directory.Disabled},
		{"sambaAcctFlags: [W          ]", 0, directory.Restricted},
		{"sambaAcctFlags: [S          ]", 0, directory.Restricted},
		{"sambaAcctFlags: [I          ]", 0, directory.Restricted},
		{"sambaAcctFlags: [Q          ]", 0, directory.StateUnknown},
		{"sambaAcctFlags: U", 0, directory.StateUnknown},
		{"sambaKickoffTime: 0", 0, directory.Active},
		{"sambaKickoffTime: 2147483647", 0, directory.Active},
		{"sambaKickoffTime: 9223372036854775807", 0, directory.Active},
		{"sambaKickoffTime: -1", 0, directory.Active},
		{"sambaKickoffTime: 1772627400", 0, directory.Expired}, // noon
		{"sambaKickoffTime: 1772627401", 0, directory.Active},
		{"sambaKickoffTime: soon", 0, directory.StateUnknown},
		{"sambaPwdMustChange: 0", 0, directory.PasswordMustChange},
		{"sambaPwdLastSet: 0", 0, directory.PasswordMustChange},
		{"sambaPwdLastSet: 1700000000;sambaPwdMustChange: 2147483647", 0, directory.Active},
		{"sambaPwdMustChange: 1700000000", 0, directory.PasswordExpired},
		{"sambaPwdMustChange: 1700000000;sambaAcctFlags: [UX]", 0, directory.Active},
		{"sambaLogonHours: " + strings.Repeat("F", 42), 0, directory.Active},
		{"sambaLogonHours: " + strings.Repeat("0", 42), 0, directory.OutsideHours},
		{"sambaLogonHours: " + wednesdayNoon, 0, directory.Active},
		{"sambaLogonHours: 00", 0, directory.StateUnknown},
		{"shadowExpire: -1", 0, directory.Active},
		{"shadowExpire: 0", 0, directory.Expired},
		{"shadowExpire: 20516", 0, directory.Expired}, // that day, which is the day the account ends
		{"shadowExpire: 20517", 0, directory.Active},
		{"shadowExpire: 99999", 0, directory.Active},
		{"shadowExpire: 9223372036854775807", 0, directory.Active},
		{"shadowExpire: x", 0, directory.StateUnknown},
		{"nsAccountLock: TRUE", 0, directory.Disabled},
		{"nsaccountlock: true", 0, directory.Disabled},
		{"nsAccountLock: FALSE", 0, directory.Active},
		{"nsAccountLock: perhaps", 0, directory.StateUnknown},
		{"pwdAccountLockedTime: 000001010000Z", time.Minute, directory.Locked},
		{"pwdAccountLockedTime: 20260304122500Z", 0, directory.Locked},
		{"pwdAccountLockedTime: 20260304122500Z", 10 * time.Minute, directory.Locked},
		{"pwdAccountLockedTime: 20260304122500Z", 5 * time.Minute, directory.Active},
		{"pwdAccountLockedTime: yesterday", 0, directory.StateUnknown},
		{"pwdReset: TRUE", 0, directory.PasswordMustChange},
		{"krbPrincipalExpiration: 20260304123000Z", 0, directory.Expired},
		{"krbPrincipalExpiration: 20260304123001Z", 0, directory.Active},
		{"krbPasswordExpiration: 20260304123000Z", 0, directory.PasswordExpired},
		{"krbPasswordExpiration: 20370304123000Z", 0, directory.Active},
		{"krbPasswordExpiration: 2037-03-04", 0, directory.StateUnknown},
		// What a new password would not mend comes first.
		{"krbPasswordExpiration: 20200101000000Z;nsAccountLock: TRUE", 0, directory.Disabled},
		{"sambaPwdLastSet: 0;sambaKickoffTime: 1", 0, directory.Expired},
		{"sambaPwdLastSet: 0;sambaLogonHours: " + strings.Repeat("0", 42), 0, directory.OutsideHours},
		// A mistake in one attribute is not made good by another.
		{"sambaAcctFlags: [X];shadowExpire: x", 0, directory.StateUnknown},
	} {
		var lines []string
		if c.lines != "" {
			lines = strings.Split(c.lines, ";")
		}
		got, _, err := readState(entryOf(lines...), noon, c.lock)
		if got != c.want || (err != nil) != (c.want == directory.StateUnknown) {
			t.Errorf("%s: %v (%v), want %v", c.lines, got, err, c.want)
		}
	}
}

func TestPasswordTimes(t *testing.T) {
	for lines, want := range map[string]passwords{
		"": {},
		"sambaPwdLastSet: 1700000000;sambaPwdMustChange: 1800000000":                      {time.Unix(1700000000, 0).UTC(), time.Unix(1800000000, 0).UTC()},
		"sambaPwdLastSet: 1700000000;sambaPwdMustChange: 1800000000;sambaAcctFlags: [UX]": {set: time.Unix(1700000000, 0).UTC()},
		"krbLastPwdChange: 20260101000000Z;krbPasswordExpiration: 20270101000000Z":        {time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		"pwdChangedTime: 20260101000000.5Z":                                               {set: time.Date(2026, 1, 1, 0, 0, 0, 5e8, time.UTC)},
	} {
		if _, got, err := readState(entryOf(strings.Split(lines, ";")...), noon, 0); got != want || err != nil {
			t.Errorf("%s: %v, %v", lines, got, err)
		}
	}
}

func TestHoursAgree(t *testing.T) {
	// One hour at a time, allowed and nothing beside it.
	sunday := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for hour := range 168 {
		var h weekHours
		h[hour/8] = 1 << (hour % 8)
		for other := range 168 {
			if got := h.allow(sunday.Add(time.Duration(other)*time.Hour + 30*time.Minute)); got != (hour == other) {
				t.Fatalf("hour %d at %d: %v", hour, other, got)
			}
		}
	}
}
