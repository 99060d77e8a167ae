package daemon

import (
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"postern/internal/obs"
)

// Process is what a binary runs. After Stop, or when it ends by itself, Wait returns.
type Process interface {
	Start() error
	Stop()
	Wait() error
}

// Run starts p and returns when it has ended: by itself, or because of SIGTERM or
// SIGINT. SIGHUP reloads. Who cannot wait for a clean end sends the signal twice.
func Run(p Process, reload func() error, log *slog.Logger) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	raiseDescriptors(log)

	if err := p.Start(); err != nil {
		p.Stop()
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }() // read below before we return
	notify(log, "READY=1")
	log.Info("running", "version", obs.Version())
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			if s == syscall.SIGHUP {
				hangUp(reload, log)
				continue
			}
			log.Info("stopping", "signal", s.String())
			notify(log, "STOPPING=1")
			signal.Reset(syscall.SIGTERM, syscall.SIGINT) // the second one ends us at once
			p.Stop()
			return <-ended
		}
	}
}

func hangUp(reload func() error, log *slog.Logger) {
	notify(log, "RELOADING=1")
	if err := reload(); err != nil {
		log.Error("not all was reloaded; what is wrong stays as it was", "error", err)
	} else {
		log.Info("reloaded")
	}
	notify(log, "READY=1")
}

// notify tells systemd (sd_notify(3)), if it has started us.
func notify(log *slog.Logger, state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(state))
		_ = c.Close()
	}
	if err != nil {
		log.Warn("systemd was not notified", "state", state, "error", err)
	}
}

// descriptors is how many files we want to have open: a control connection takes
// one, and a service one for each client that asks by RadSec.
const descriptors = 1 << 17

// raiseDescriptors raises the limit of open files as far as we may. Go's runtime has
// raised the soft limit to the hard one already; root may raise that, too.
func raiseDescriptors(log *slog.Logger) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || now.Cur >= descriptors {
		return
	}
	want := unix.Rlimit{Cur: descriptors, Max: max(now.Max, descriptors)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		log.Debug("limit of open files not raised", "limit", now.Max, "error", err)
	}
}
