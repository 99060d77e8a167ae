package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"postern/internal/report"
)

// Pauses of the daemon, ours.
const (
	defaultEvery = 10 * time.Minute
	minEvery     = time.Minute
	// firstRetry is after a failure; it doubles from one to the next.
	firstRetry = 15 * time.Second
	// hopeless is after a refusal that only people can put right.
	hopeless = time.Hour
	// lookEvery is how soon a request is seen, and restEvery how often one is heard:
	// everybody may make them.
	lookEvery = 500 * time.Millisecond
	restEvery = 5 * time.Second
)

// run sends reports until the context ends.
func (a *agent) run(ctx context.Context, args []string) error {
	f := a.flags("run")
	every := f.Duration("every", defaultEvery, "how often it reports")
	if err := parse(f, args); err != nil {
		return err
	}
	if *every < minEvery {
		return fmt.Errorf("run: --every is at least %v", minEvery)
	}
	id, err := a.identity()
	if err != nil {
		return err
	}
	if err := protect(a.dir); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.errs, nil))
	log.Info("agent running", "device", id.Device, "user", id.User, "server", id.Server, "every", *every)
	failures := 0
	for {
		reply, err := a.send(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			failures++
			log.Warn("report not taken", "error", err, "failures", failures)
		case err == nil:
			if failures > 0 {
				log.Info("report taken again", "after_failures", failures)
			}
			failures = 0
			log.Debug("report taken", "device", reply.Device)
		}
		if !a.wait(ctx, pause(*every, failures, err, rand.Float64())) {
			log.Info("agent stopped")
			return nil
		}
	}
}

// pause is how long to wait for the next report. Chance is from 0 to 1: a building's
// computers that were switched on together must not report together for ever.
func pause(every time.Duration, failures int, err error, chance float64) time.Duration {
	d := every
	if failures > 0 {
		d = min(firstRetry<<min(failures-1, 10), every)
	}
	var r *refused
	if errors.As(err, &r) {
		switch r.reply.Refused {
		case report.UnknownKey, report.Revoked, report.Unsupported, report.Malformed:
			d = max(every, hopeless)
		default:
		}
	}
	return d - d/10 + time.Duration(chance*float64(d/5))
}

// wait waits until it is time, or somebody asks; false: the context has ended.
func (a *agent) wait(ctx context.Context, d time.Duration) bool {
	due := time.NewTimer(d)
	defer due.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	rest := time.Now().Add(restEvery)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-due.C:
			return true
		case <-look.C:
			if time.Now().After(rest) && a.requested() {
				return true
			}
		}
	}
}

// requested says whether somebody asked, and takes the request away. What it is does not
// matter, and what cannot be taken away is none: it would be one for ever.
func (a *agent) requested() bool {
	return os.Remove(filepath.Join(a.dir, requestsDir, requestFile)) == nil
}

// request asks a running agent for a report. Another's request, which may not be touched
// (Linux: fs.protected_regular), is one as well.
func (a *agent) request() error {
	f, err := os.OpenFile(filepath.Join(a.dir, requestsDir, requestFile), os.O_CREATE|os.O_WRONLY, 0o666)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		return err
	}
	return f.Close()
}
