//go:build integration

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"postern/integration/clientvm"
)

// client is one pppd.
type client struct {
	namespace string
	cmd       *exec.Cmd
	up        chan struct{} // closed when IPv4 is open
	ended     chan struct{} // closed when pppd has ended

	mu   sync.Mutex
	link clientvm.Link
}

func (c *client) state() clientvm.Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

func (c *client) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// Dial starts the clients and waits for each to be up or to end.
func (g *Guest) Dial(d clientvm.Dial, links *[]clientvm.Link) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		if c.alive() {
			return errors.New("the clients of the last Dial are still there")
		}
	}
	clear(g.clients)
	if d.Clients > 1 && !d.SameAddress {
		if err := g.spread(d.Clients); err != nil {
			return err
		}
	} else if err := g.gather(); err != nil {
		return err
	}

	slots := make(chan struct{}, d.Parallel)
	result := make([]clientvm.Link, d.Clients)
	failed := make([]error, d.Clients)
	var all sync.WaitGroup
	for i := 1; i <= d.Clients; i++ {
		c := &client{up: make(chan struct{}), ended: make(chan struct{})}
		c.link.Client = i
		if g.members > 0 {
			c.namespace = namespace(i)
		}
		g.clients[i] = c
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			failed[i-1] = c.dial(d)
			result[i-1] = c.state()
		})
	}
	all.Wait()
	*links = result
	return errors.Join(failed...)
}

// arguments are pppd's. nodetach keeps it our child, so that its exit status is
// ours to read however late it comes; its log comes over standard output.
func arguments(d clientvm.Dial) []string {
	args := []string{"user", d.User, "password", d.Password, "name", d.User, "remotename", "pptp",
		"nodetach", "debug", "logfd", "1", "noauth", "nodefaultroute", "usepeerdns", "noproxyarp",
		"nobsdcomp", "nodeflate", "novj", "novjccomp", "noipv6", "maxfail", "1",
		"lcp-echo-interval", "20", "lcp-echo-failure", "5"}
	args = append(args, d.MPPE.Options()...)
	if d.Stateful {
		args = append(args, "mppe-stateful")
	}
	for _, a := range d.Refuse {
		args = append(args, "refuse-"+a)
	}
	if d.MTU > 0 {
		args = append(args, "mtu", strconv.Itoa(d.MTU))
	}
	if d.MRU > 0 {
		args = append(args, "mru", strconv.Itoa(d.MRU))
	}
	args = append(args, d.Options...)
	if d.Data == clientvm.User {
		return append(args, "pty", "exec pptp "+d.Server+" --nolaunchpppd --loglevel 0")
	}
	args = append(args, "plugin", "kpptp.so", "kpptp-server", d.Server)
	if d.Stateful {
		args = append(args, "kpptp-stateful")
	}
	return args
}

func (c *client) dial(d clientvm.Dial) error {
	log, err := os.Create(fmt.Sprintf("%s/logs/client%d", job, c.link.Client))
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer write.Close()
	c.cmd = exec.Command("pppd", arguments(d)...)
	c.cmd.Stdout, c.cmd.Stderr = write, write
	begin := time.Now()
	if err := startIn(c.namespace, c.cmd); err != nil {
		return err
	}
	go c.follow(read, log) // ends when pppd and its children have closed their log
	go func() {            // ends with pppd; waited for on c.ended
		_ = c.cmd.Wait() // the status is read below
		c.mu.Lock()
		c.link.Ended, c.link.Up, c.link.Status = true, false, c.cmd.ProcessState.ExitCode()
		c.mu.Unlock()
		close(c.ended)
	}()

	timeout := time.NewTimer(d.Timeout)
	defer timeout.Stop()
	var failure error
	select {
	case <-c.up:
		failure = c.open(d.Routes)
	case <-c.ended:
	case <-timeout.C:
		c.note(fmt.Sprintf("not up within %v", d.Timeout))
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.ended:
		case <-time.After(10 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.ended
		}
	}
	c.mu.Lock()
	c.link.Seconds = time.Since(begin).Seconds()
	c.mu.Unlock()
	return failure
}

// open finishes a link that pppd has brought up.
func (c *client) open(routes []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.Up = true
	var lines []string
	for _, r := range routes {
		lines = append(lines, fmt.Sprintf("route replace %s dev %s", r, c.link.Interface))
	}
	if len(lines) > 0 {
		if err := ip(c.namespace, lines...); err != nil {
			return err
		}
	}
	// Not from /sys, which shows the guest's own namespace only.
	shown, err := output(c.namespace, "ip", "-o", "link", "show", c.link.Interface)
	if err != nil {
		return err
	}
	_, mtu, _ := strings.Cut(shown, " mtu ")
	mtu, _, _ = strings.Cut(mtu, " ")
	c.link.MTU, err = strconv.Atoi(mtu)
	return err
}

func (c *client) note(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.link.Why) < 12 {
		c.link.Why = append(c.link.Why, line)
	}
}

var trouble = regexp.MustCompile(`(?i)fail|reject|refus|error|fatal|terminat|unrecogni[sz]ed|denied|E=[0-9]+|no response|hangup|kpptp:`)

// follow reads pppd's log to its end. pptp and the plugin's child hold it open as
// long as pppd does.
func (c *client) follow(r, log *os.File) {
	defer r.Close()
	defer log.Close()
	lines := bufio.NewScanner(io.TeeReader(r, log))
	for lines.Scan() {
		line := lines.Text()
		c.mu.Lock()
		l := &c.link
		switch {
		case strings.HasPrefix(line, "Using interface "):
			l.Interface = strings.TrimPrefix(line, "Using interface ")
		case strings.HasPrefix(line, "MPPE ") && strings.HasSuffix(line, " compression enabled"):
			l.MPPE = strings.TrimSuffix(strings.TrimPrefix(line, "MPPE "), " compression enabled")
		case strings.HasPrefix(line, "rcvd [LCP ConfReq"):
			if _, auth, ok := strings.Cut(line, "<auth "); ok {
				l.Auth, _, _ = strings.Cut(auth, ">")
			}
		case strings.HasPrefix(line, "local  IP address "):
			l.Local = strings.TrimPrefix(line, "local  IP address ")
		case strings.HasPrefix(line, "primary   DNS address "), strings.HasPrefix(line, "secondary DNS address "):
			l.DNS = append(l.DNS, line[strings.LastIndexByte(line, ' ')+1:])
		case strings.HasPrefix(line, "remote IP address "):
			first := l.Remote == ""
			l.Remote = strings.TrimPrefix(line, "remote IP address ")
			if first {
				close(c.up)
			}
		}
		c.mu.Unlock()
		// What pppd itself refuses shows in what the peer answers.
		if trouble.MatchString(line) && !strings.HasPrefix(line, "sent ") {
			c.note(line)
		}
	}
}

// Await waits for the end of clients.
func (g *Guest) Await(a clientvm.Await, links *[]clientvm.Link) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	timeout := time.NewTimer(a.Timeout)
	defer timeout.Stop()
	for i := 1; i <= len(g.clients); i++ {
		select {
		case <-g.clients[i].ended:
		case <-timeout.C:
			return fmt.Errorf("client %d is still there after %v", i, a.Timeout)
		}
	}
	*links = g.states()
	return nil
}

// Hangup ends all clients as their users would.
func (g *Guest) Hangup(_ clientvm.None, links *[]clientvm.Link) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.clients {
		if c.alive() {
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	var failed []error
	for i := 1; i <= len(g.clients); i++ {
		select {
		case <-g.clients[i].ended:
		case <-timeout.C:
			failed = append(failed, fmt.Errorf("client %d did not end", i))
			_ = g.clients[i].cmd.Process.Kill()
			<-g.clients[i].ended
		}
	}
	*links = g.states()
	return errors.Join(failed...)
}

func (g *Guest) states() []clientvm.Link {
	links := make([]clientvm.Link, 0, len(g.clients))
	for i := 1; i <= len(g.clients); i++ {
		links = append(links, g.clients[i].state())
	}
	return links
}
