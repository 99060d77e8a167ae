package obs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"postern/internal/config"
)

func TestNewLogger(t *testing.T) {
	for _, c := range []struct {
		format config.LogFormat
		want   string
	}{
		{config.LogJSON, `"msg":"hello","who":"world"`},
		{config.LogText, `msg=hello who=world`},
		{config.LogUnknown, `"msg":"hello","who":"world"`},
	} {
		var b bytes.Buffer
		log, level := NewLogger(&b, config.Log{Level: config.Level(slog.LevelWarn), Format: c.format})
		derived := log.With()
		derived.Info("hello", "who", "nobody")
		if b.Len() != 0 {
			t.Errorf("%v: below its level: %s", c.format, &b)
		}
		level.Set(slog.LevelInfo)
		derived.Info("hello", "who", "world")
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("%v: %s, want %s in it", c.format, &b, c.want)
		}
	}
}
