package ad

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAlarms(t *testing.T) {
	var log bytes.Buffer
	a := &alarms{log: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range 3 {
		a.raise(testNow.Add(time.Duration(i)*time.Minute), "dc1", AlarmMachine, "access denied")
	}
	a.raise(testNow.Add(-time.Minute), "dc2", AlarmBlocked, "0xC0000418")
	got := a.list()
	if len(got) != 2 || got[0].Server != "dc2" || got[1].Kind != AlarmMachine || !got[1].Since.Equal(testNow) || got[1].Remedy == "" {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d lines:\n%s", n, &log)
	}
	a.clear(testNow, "dc1", AlarmBlocked, AlarmMachine)
	a.clear(testNow, "dc1", AlarmMachine)
	if got := a.list(); len(got) != 1 || got[0].Server != "dc2" {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(log.String(), "level=INFO"); n != 1 {
		t.Errorf("%d lines about an end:\n%s", n, &log)
	}
	for k := AlarmMachine; int(k) < len(alarmNames); k++ {
		if k.String() == "" || remedies[k] == "" {
			t.Errorf("alarm %d has no name or no remedy", k)
		}
	}
	if AlarmKind(200).String() != "unknown" {
		t.Error("an alarm that there is not has a name")
	}
}
