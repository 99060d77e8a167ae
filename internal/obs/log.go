package obs

import (
	"io"
	"log/slog"

	"postern/internal/config"
)

// NewLogger writes lines to w as the configuration wants them. The level is
// returned, too, so that a reload can change it under every logger derived from
// this one; the format stays for as long as the process lives.
func NewLogger(w io.Writer, c config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(slog.Level(c.Level))
	options := &slog.HandlerOptions{Level: level}
	if c.Format == config.LogText {
		return slog.New(slog.NewTextHandler(w, options)), level
	}
	return slog.New(slog.NewJSONHandler(w, options)), level
}
