//go:build integration

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"postern/integration/clientvm"
)

// Serve starts pptpd and an iperf3 server, which run until the guest ends.
func (g *Guest) Serve(s clientvm.Serve, _ *clientvm.None) error {
	options := append([]string{"name pptpd", "auth", "refuse-pap", "refuse-chap", "refuse-mschap", "require-mschap-v2",
		"nodefaultroute", "noproxyarp", "nobsdcomp", "nodeflate", "novj", "novjccomp", "noipv6", "debug", "nologfd",
		"logfile " + job + "/logs/pptpd-pppd"}, s.MPPE.Options()...)
	if s.Stateful {
		options = append(options, "mppe-stateful")
	}
	options = append(options, s.Options...)
	for name, text := range map[string]string{
		"/etc/ppp/chap-secrets": fmt.Sprintf("%q * %q *\n", s.User, s.Password),
		"/etc/ppp/options.srv":  strings.Join(options, "\n") + "\n",
		"/etc/pptpd.conf": fmt.Sprintf("option /etc/ppp/options.srv\nlocalip %s\nremoteip %s\nnoipparam\nconnections 100\n",
			s.Local, s.Pool),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := ip("", "addr add "+s.Local+"/32 dev lo"); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("pptpd", "-f", "-c", "/etc/pptpd.conf"),
		exec.Command("iperf3", "-s"),
	} {
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		if c, err := net.Dial("tcp", s.Local+":1723"); err == nil {
			return c.Close()
		}
	}
	return errors.New("pptpd does not answer")
}
