package ad

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// AlarmKind is what somebody must look at.
//
// Handled in: alarmNames, remedies.
type AlarmKind uint8

const (
	AlarmUnknown  AlarmKind = iota
	AlarmMachine            // the domain controller refuses the machine account's password
	AlarmBlocked            // the domain controller refuses all of NTLM
	AlarmSuspect            // wrong passwords for everybody: MS-CHAPv2 may not be accepted
	AlarmMSCHAPv2           // MS-CHAPv2 is not accepted
	AlarmProbe              // the probe account is of no use
	AlarmBind               // the directory refuses who we bind as
	AlarmGroups             // groups cannot be read
)

var alarmNames = [...]string{
	AlarmUnknown: "unknown", AlarmMachine: "machine account refused", AlarmBlocked: "NTLM blocked", AlarmSuspect: "wrong passwords for everybody",
	AlarmMSCHAPv2: "MS-CHAPv2 not accepted", AlarmProbe: "probe account refused", AlarmBind: "bind refused", AlarmGroups: "groups not readable",
}

// String returns the kind in words.
func (k AlarmKind) String() string {
	if int(k) < len(alarmNames) {
		return alarmNames[k]
	}
	return alarmNames[AlarmUnknown]
}

// remedies say what to do.
var remedies = [...]string{
	AlarmUnknown:  "",
	AlarmMachine:  "run `postern ad join` again, or put the account's right password into the secret file",
	AlarmBlocked:  "allow NTLM for this gateway: on Samba not `ntlm auth = disabled`, on Windows an exception from \"Restrict NTLM\"",
	AlarmSuspect:  "run `postern ad doctor` with a probe account: it tells a guesser from a domain controller that does not accept MS-CHAPv2",
	AlarmMSCHAPv2: "on Samba set `ntlm auth = mschapv2-and-ntlmv2-only` in the domain controller's smb.conf; on Windows allow NTLM for this gateway",
	AlarmProbe:    "set the probe account's password, unlock and enable it, or leave it out of the configuration",
	AlarmBind:     "set the password of the account under bind; where there is none, run `postern ad join` again",
	AlarmGroups:   "let the account that the configuration binds as read tokenGroups: group \"Windows Authorization Access Group\"",
}

// Alarm is something that somebody must look at, and that no login says.
type Alarm struct {
	Server string
	Kind   AlarmKind
	Since  time.Time
	What   string // in detail
	Remedy string
}

// alarms are those that ring. Each is logged once when it begins and once when it ends.
type alarms struct {
	log *slog.Logger

	mu   sync.Mutex
	ring []Alarm
}

func (a *alarms) find(server string, k AlarmKind) int {
	return slices.IndexFunc(a.ring, func(r Alarm) bool { return r.Server == server && r.Kind == k })
}

func (a *alarms) raise(now time.Time, server string, k AlarmKind, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := a.find(server, k); i >= 0 {
		a.ring[i].What = what
		return
	}
	al := Alarm{Server: server, Kind: k, Since: now, What: what, Remedy: remedies[k]}
	a.ring = append(a.ring, al)
	a.log.Error("directory needs attention", "server", server, "alarm", k.String(), "reason", what, "remedy", al.Remedy)
}

func (a *alarms) clear(now time.Time, server string, kinds ...AlarmKind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range kinds {
		if i := a.find(server, k); i >= 0 {
			a.log.Info("directory is in order again", "server", server, "alarm", k.String(), "after", now.Sub(a.ring[i].Since))
			a.ring = slices.Delete(a.ring, i, i+1)
		}
	}
}

// list returns those that ring, the oldest first.
func (a *alarms) list() []Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.ring)
	slices.SortStableFunc(all, func(x, y Alarm) int { return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Server, y.Server)) })
	return all
}
