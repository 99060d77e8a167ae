package collect

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Machine is what is looked at.
type Machine struct {
	OS       string // as runtime.GOOS
	Root     string // where /etc and /proc are; "/"
	Now      func() time.Time
	Admin    bool // everything may be asked
	Run      func(ctx context.Context, name string, args ...string) ([]byte, error)
	Registry Registry // nil: none
	Uptime   func() (time.Duration, error)
}

// Registry is Windows' own. Paths begin with HKLM or HKU.
type Registry interface {
	// Value is a string, or a number.
	Value(path, name string) (text string, number uint64, err error)
	// Keys are the names below a path.
	Keys(path string) ([]string, error)
}

// maxRead bounds a file or what a tool says: a rule set of a thousand rules has 100 kB.
const maxRead = 4 << 20

// read reads a file of the machine; of one that is too long, its end.
func (m *Machine) read(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(m.Root, name))
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > maxRead {
		if _, err := f.Seek(-maxRead, io.SeekEnd); err != nil {
			return nil, plain(err)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxRead))
	return b, plain(err)
}

// readZip is read for a file that is compressed.
func (m *Machine) readZip(name string) ([]byte, error) {
	b, err := m.read(name)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxRead))
}

// changed is when a file was written last; the zero time: there is none.
func (m *Machine) changed(name string) time.Time {
	info, err := os.Stat(filepath.Join(m.Root, name))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// glob lists the files of a pattern, without the root.
func (m *Machine) glob(pattern string) []string {
	names, err := filepath.Glob(filepath.Join(m.Root, pattern))
	if err != nil {
		return nil
	}
	for i, n := range names {
		if rel, err := filepath.Rel(m.Root, n); err == nil {
			names[i] = rel
		}
	}
	return names
}

// errNoTool: the machine has no such program.
var errNoTool = errors.New("not installed")

// run runs a program of the system, in its own language.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &capped{w: &out}, &capped{w: &errs}
	err := cmd.Run()
	short := filepath.Base(name)
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", short, errNoTool)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: it took too long", short)
	}
	if line := firstLine(errs.String()); line != "" {
		return out.Bytes(), fmt.Errorf("%s: %s", short, line)
	}
	return out.Bytes(), fmt.Errorf("%s: %w", short, err)
}

// capped drops what is beyond maxRead.
type capped struct {
	w *bytes.Buffer
}

func (c *capped) Write(b []byte) (int, error) {
	c.w.Write(b[:min(len(b), max(maxRead-c.w.Len(), 0))])
	return len(b), nil
}

// firstLine is what people are shown of an error.
func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	line = strings.TrimSpace(line)
	return line[:min(len(line), 200)]
}

// plain is a file's error without what every one of them says.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", filepath.Base(p.Path), p.Err)
	}
	return err
}
