package service

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// auditFile is the file audit lines go to. Whoever rotates it renames it and has us
// reload. A decision is not undone because its line could not be written; that it
// was not is an error in the log and in a metric to alert on.
type auditFile struct {
	path string // "": standard output
	log  *slog.Logger
	lost prometheus.Counter

	mu   sync.Mutex
	file *os.File
}

func openAudit(path string, log *slog.Logger, reg prometheus.Registerer) (*auditFile, error) {
	a := &auditFile{path: path, log: log, file: os.Stdout, lost: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "postern", Name: "audit_lines_lost_total", Help: "Audit lines that could not be written.",
	})}
	if reg != nil {
		if err := reg.Register(a.lost); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return a, a.reopen()
}

// reopen opens the file anew; after an error the old one stays.
func (a *auditFile) reopen() error {
	if a.path == "" {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.file
	a.file = f
	if old == os.Stdout {
		return nil
	}
	return old.Close()
}

// Write writes one line.
func (a *auditFile) Write(line []byte) (int, error) {
	a.mu.Lock()
	n, err := a.file.Write(line)
	a.mu.Unlock()
	if err != nil {
		a.lost.Inc()
		a.log.Error("audit line lost", "error", err)
	}
	return n, err
}

// close closes the file; what is written then is lost and counted.
func (a *auditFile) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == os.Stdout {
		return nil
	}
	return a.file.Close()
}
