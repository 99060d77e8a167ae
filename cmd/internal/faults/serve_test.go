//go:build integration

package faults

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/daemon"
	"postern/cmd/internal/node"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/pptp"
)

// serveEnv has the test's binary be postern-radiusd, and nodeEnv postern-gateway, with the
// configuration that they name.
const (
	serveEnv = "POSTERN_FAULTS_SERVE"
	nodeEnv  = "POSTERN_FAULTS_NODE"
)

// interim is shorter than configurations may have it, so that a run of a minute sees
// many sessions fall silent. start is the shortest that they may have.
const (
	interim = 5 * time.Second
	start   = 10 * time.Second
	silence = 3 * interim
	// sweep is the services' own interval of writing down what has fallen silent.
	sweep = 15 * time.Second
)

func TestMain(m *testing.M) {
	if file := os.Getenv(serveEnv); file != "" {
		os.Exit(serve(file))
	}
	if file := os.Getenv(nodeEnv); file != "" {
		os.Exit(serveNode(file))
	}
	os.Exit(cmdtest.Main(m, "postern"))
}

// serve is postern-radiusd, but for the interval.
func serve(file string) int {
	p := daemon.Program[*config.Service]{
		Name: "postern-radiusd", Role: "service", Check: service.Check,
		Load: quick,
		Parts: func(c *config.Service) daemon.Parts {
			return daemon.Parts{Name: c.Node, Log: c.Log, Metrics: c.Metrics}
		},
		New: func(c *config.Service, log *slog.Logger, r prometheus.Registerer) (daemon.Server[*config.Service], error) {
			return service.New(c, service.Options{Log: log, Registerer: r})
		},
	}
	return p.Main([]string{"-config", file})
}

// serveNode is postern-gateway, but for the interval.
func serveNode(file string) int {
	p := daemon.Program[*config.Gateway]{
		Name: "postern-gateway", Role: "node", Check: node.Check, Load: config.LoadGateway,
		Parts: func(c *config.Gateway) daemon.Parts {
			return daemon.Parts{Name: c.Node, Log: c.Log, Metrics: c.Metrics}
		},
		New: func(c *config.Gateway, log *slog.Logger, r prometheus.Registerer) (daemon.Server[*config.Gateway], error) {
			return node.New(c, node.Options{Log: log, Registerer: r, Deps: pptp.Deps{Interim: interim}})
		},
	}
	return p.Main([]string{"-config", file})
}

func quick(file string) (*config.Service, error) {
	c, err := config.LoadService(file)
	if err == nil {
		c.Session.Interim = interim
	}
	return c, err
}

// process is a service that runs, or did.
type process struct {
	w    *world
	name string
	addr string // of RadSec
	cmd  *exec.Cmd
	ends chan struct{}
}

func (p *process) start() {
	out, err := os.OpenFile(filepath.Join(p.w.dir, p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.w.t.Error(err)
		return
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		p.w.t.Error(err)
		return
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveEnv+"="+filepath.Join(p.w.dir, p.name+".yaml"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.w.t.Error(err)
		return
	}
	ends := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(ends)
	}()
	p.cmd, p.ends = cmd, ends
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ends
}

func (p *process) freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) thaw()   { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
