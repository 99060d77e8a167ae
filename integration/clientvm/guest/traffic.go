//go:build integration

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/integration/clientvm"
)

// output runs a program in a namespace and returns all it printed.
func output(namespace, name string, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startIn(namespace, cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return out.String(), err
}

// Ping pings from every client that is up, all at once, one size after the other.
func (g *Guest) Ping(p clientvm.Ping, sizes *[]clientvm.Echoed) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, size := range p.Sizes {
		e := clientvm.Echoed{Size: size}
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := 1; i <= len(g.clients); i++ {
			c := g.clients[i]
			link := c.state()
			if !link.Up {
				continue
			}
			e.Clients++
			all.Go(func() {
				// -M dont: what does not fit is fragmented, as a client's own packets would be.
				// -w: with -W, the last answer would have two round-trip times only, less than
				// a guest may sleep on a busy machine. Here ping asks on until Count are answered.
				out, err := output(c.namespace, "ping", "-I", link.Interface, "-n", "-c", strconv.Itoa(p.Count),
					"-i", "0.2", "-w", "4", "-M", "dont", "-s", strconv.Itoa(size), p.To)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && answered(out, p.Count) {
					e.Lossless++
				} else if len(e.Detail) < 5 {
					e.Detail = append(e.Detail, fmt.Sprintf("client %d: %s", link.Client, strings.TrimSpace(out)))
				}
			})
		}
		all.Wait()
		*sizes = append(*sizes, e)
	}
	return nil
}

// answered says whether each of the first n echoes has its answer.
func answered(out string, n int) bool {
	for i := range n {
		if !strings.Contains(out, fmt.Sprintf("icmp_seq=%d ttl=", i+1)) {
			return false
		}
	}
	return true
}

// at is the namespace of a client, 0 being the first.
func (g *Guest) at(client int) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, ok := g.clients[max(client, 1)]
	if !ok && client > 1 {
		return "", fmt.Errorf("no client %d", client)
	}
	if !ok {
		return "", nil
	}
	return c.namespace, nil
}

// Transfer runs iperf3 against a server that is there.
func (g *Guest) Transfer(x clientvm.Transfer, moved *clientvm.Moved) error {
	ns, err := g.at(x.Client)
	if err != nil {
		return err
	}
	args := []string{strconv.Itoa(x.Seconds + 30), "iperf3", "--json", "--connect-timeout", "5000", "-c", x.To, "-t", strconv.Itoa(x.Seconds)}
	if x.Down {
		args = append(args, "--reverse")
	}
	out, runErr := output(ns, "timeout", args...)
	var report struct {
		Error string
		End   struct {
			Sent struct {
				Retransmits int64
			} `json:"sum_sent"`
			Received struct {
				Bytes      int64
				BitsPerSec float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return fmt.Errorf("iperf3: %w: %s", err, out)
	}
	if report.Error != "" || runErr != nil {
		return fmt.Errorf("iperf3: %s (%w)", report.Error, runErr)
	}
	*moved = clientvm.Moved{
		Bytes:       report.End.Received.Bytes,
		BitsPerSec:  report.End.Received.BitsPerSec,
		Retransmits: report.End.Sent.Retransmits,
	}
	return nil
}

// Exec runs a shell command where a client dials from.
func (g *Guest) Exec(e clientvm.Exec, done *clientvm.Done) error {
	ns, err := g.at(e.Client)
	if err != nil {
		return err
	}
	var out strings.Builder
	cmd := exec.Command("sh", "-c", e.Command)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startIn(ns, cmd); err != nil {
		return err
	}
	timer := time.AfterFunc(e.Timeout, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // the status is the answer
	done.Status, done.Output = cmd.ProcessState.ExitCode(), out.String()
	return nil
}
