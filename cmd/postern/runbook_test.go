package main

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/activation"
	"postern/authz/directory/ad"
	"postern/authz/posture/computers"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/obs"
	"postern/internal/store"
	"postern/pptp"
	"postern/pptp/filter"
	"postern/pptp/tun/tuntest"
)

// described notes the names of all that registers, also of what has no value yet.
type described struct {
	prometheus.Registerer
	names map[string]bool
}

var fqName = regexp.MustCompile(`fqName: "(postern_[a-z_]+)"`)

func (d described) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc)
	go func() { // ends with Describe
		defer close(ch)
		c.Describe(ch)
	}()
	for desc := range ch {
		if m := fqName.FindStringSubmatch(desc.String()); m != nil {
			d.names[m[1]] = true
		}
	}
	return d.Registerer.Register(c)
}

func (d described) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

// registered are the metrics of a node and of a service.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	site := cmdtest.NewSite(t)
	site.Write(t, "radiusd.yaml", site.Read(t, "radiusd.yaml")+`accounting:
  forward:
    - {name: billing, servers: [{name: billing, transport: udp, address: "127.0.0.1:1813", secret_file: secret}]}
`)
	names := map[string]bool{}
	families, err := obs.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "postern_") {
			names[f.GetName()] = true
		}
	}
	svcConfig, err := config.LoadService(site.Radiusd)
	if err != nil {
		t.Fatal(err)
	}
	svc, err := service.New(svcConfig, service.Options{Registerer: described{prometheus.NewRegistry(), names}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(svc.Stop)
	// A test has no domain.
	if _, err := computers.New(computers.Config{
		Directory: new(ad.Directory), Owner: strings.ToLower, Store: svc.Store(), Interval: time.Minute, Metrics: described{prometheus.NewRegistry(), names},
	}); err != nil {
		t.Fatal(err)
	}
	gwConfig, err := config.LoadGateway(site.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	near, far := tuntest.Pair(1400, 1)
	t.Cleanup(func() { _ = far.Close() })
	gw, err := node.New(gwConfig, node.Options{Registerer: described{prometheus.NewRegistry(), names}, Deps: pptp.Deps{TUN: near}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gw.Stop)
	// The packet filter is the kernel's, and a test has none.
	if err := (described{prometheus.NewRegistry(), names}).Register(new(filter.Table)); err != nil {
		t.Fatal(err)
	}
	return names
}

// The runbook explains every metric there is, and no other.
func TestRunbookKnowsTheMetrics(t *testing.T) {
	book := runbook(t)
	names := registered(t)
	written := map[string]bool{}
	for _, name := range regexp.MustCompile(`\bpostern_[a-z_]+`).FindAllString(book, -1) {
		written[name] = true
		if base := strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"); !names[name] && !names[base] {
			t.Errorf("RUNBOOK.md: nothing registers %s", name)
		}
	}
	for name := range names {
		if !written[name] {
			t.Errorf("RUNBOOK.md does not explain %s", name)
		}
	}
	if len(names) < 30 {
		t.Errorf("only %d metrics were found", len(names))
	}
}

// Each reason, cause and alarm has a row in a table that says what it means.
func TestRunbookKnowsTheReasons(t *testing.T) {
	book := runbook(t)
	names := map[string]bool{}
	for _, r := range authz.Reasons() {
		names[r.String()] = true
	}
	// Other enums that label what an operator looks at; beyond the last all are unknown.
	for i := range 256 {
		names[pptp.Cause(i).String()] = true
		names[pptp.Drop(i).String()] = true
		names[ad.AlarmKind(i).String()] = true
		names[activation.Alarm(i).String()] = true
	}
	for i := range 256 {
		if c := store.Check(i); c != store.CheckNone && c.String() != store.CheckNone.String() {
			names[c.String()] = true
		}
	}
	for name := range names {
		if row := "\n| `" + name + "` | "; !strings.Contains(book, row) {
			t.Errorf("RUNBOOK.md has no row for %q", name)
		}
	}
	if len(names) < len(authz.Reasons())+40 {
		t.Errorf("only %d names were found", len(names))
	}
}

var quotedText = regexp.MustCompile(`'[^']*'|"[^"]*"`)

var shellBlock = regexp.MustCompile("(?m)^```sh\n((?:.*\n)*?)```")

// What the pages tell to type is a command, with flags and arguments that it has.
func TestDocumentedCommands(t *testing.T) {
	n := 0
	for _, page := range []string{"RUNBOOK.md", "POLICY.md"} {
		text, err := os.ReadFile("../../deploy/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[1]) {
				line, _, _ = strings.Cut(line, " #")
				line, _, _ = strings.Cut(line, " | ") // what another program reads
				line, _, _ = strings.Cut(line, " > ")
				words := strings.Fields(quotedText.ReplaceAllString(line, "text"))
				if len(words) == 0 || words[0] != "postern" {
					continue
				}
				n++
				root := newRoot(&cli{})
				cmd, rest, err := root.Find(doubleDashes(words[1:]))
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err == nil {
					err = cmd.ValidateArgs(cmd.Flags().Args())
				}
				if err == nil && cmd.HasSubCommands() && cmd != root {
					err = errors.New("no command")
				}
				if err != nil {
					t.Errorf("%s: %s: %v", page, strings.TrimSpace(line), err)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d commands were found", n)
	}
}

func runbook(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../deploy/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
