// Package cmdtest builds the project's binaries once for a package's tests and runs
// them the way people and systemd do: arguments, signals, exit status, and what is
// printed. It is imported by tests only.
package cmdtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is where Main has put the binaries.
var bin string

// Main builds the programs below cmd/ as a release is built, runs the tests and
// returns the exit status.
func Main(m *testing.M, programs ...string) int {
	dir, err := os.MkdirTemp("", "postern-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	args := []string{"build", "-trimpath", "-o", dir + "/"}
	for _, p := range programs {
		args = append(args, "postern/cmd/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n%s", cmd, err, out)
		return 1
	}
	return m.Run()
}

// Path is where a program was built.
func Path(program string) string { return filepath.Join(bin, program) }

// Result is how a program ended.
type Result struct {
	Out, Errs string
	Status    int
}

// Run runs a program to its end with input.
func Run(t testing.TB, input, program string, args ...string) Result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), Path(program), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Must is Run for what has to succeed; it returns what was printed.
func Must(t testing.TB, input, program string, args ...string) string {
	t.Helper()
	r := Run(t, input, program, args...)
	if r.Status != 0 {
		t.Fatalf("%s %q: status %d\n%s%s", program, args, r.Status, r.Out, r.Errs)
	}
	return r.Out
}

// Process is a program that runs.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	mu    sync.Mutex
	said  bytes.Buffer
	more  chan struct{} // replaced and closed with each write
}

// Start starts a program; it is killed at the end of the test if it still runs.
func Start(t testing.TB, program string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(Path(program), args...), ended: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // waited for below
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", program, p.Said())
		}
	})
	return p
}

// PID is the program's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Write takes what the program prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.more)
	p.more = make(chan struct{})
	return p.said.Write(b)
}

// Said is what the program has printed until now.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// patience is how long a program may take for what it is asked; generous, because
// the machine may be busy with other tests.
const patience = 30 * time.Second

// Await waits until the program has printed text n times.
func (p *Process) Await(t testing.TB, text string, n int) {
	t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		more, found := p.more, strings.Count(p.said.String(), text) >= n
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			if strings.Count(p.Said(), text) < n {
				t.Fatalf("it ended without saying %q %d times", text, n)
			}
			return
		case <-late:
			t.Fatalf("it did not say %q %d times", text, n)
		}
	}
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// End waits for the program's end and returns its status.
func (p *Process) End(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}
