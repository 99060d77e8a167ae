//go:build integration

package chromium

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"golang.org/x/sys/unix"

	"postern/integration/netlab"
)

// The two widths that pages are made for.
const (
	phoneWidth, phoneHeight = 390, 844
	deskWidth, deskHeight   = 1280, 900
)

// patience is how long a page may take on a machine that is busy with other tests.
const patience = 30 * time.Second

// Options of a browser.
type Options struct {
	Desk     bool              // a desk's width in place of a phone's, until a Shot's
	Language string            // what it asks servers for; "": en
	NoScript bool              // as with JavaScript switched off
	Dark     bool              // as with a dark theme
	Trust    []string          // PEM files: servers that show one of these are trusted, whoever signed for them
	Hosts    map[string]string // name to address, in front of the system's resolver
	In       *netlab.Namespace // nil: where the test is
	Expect   []string          // parts of console errors that are no fault
}

// Browser is one Chromium with one page open.
type Browser struct {
	t   testing.TB
	ctx context.Context
	o   Options

	mu      sync.Mutex
	console []string
}

func executable(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (integration/apt.sh)")
	}
	return path
}

// Version is Chromium's own word.
func Version(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(executable(t), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// Start starts a browser that ends with the test. A test without Chromium skips.
func Start(t testing.TB, o Options) *Browser {
	t.Helper()
	if o.Language == "" {
		o.Language = "en"
	}
	profile, err := os.MkdirTemp("", "chromium") // short: a socket in it has a path of 107 octets at most
	if err != nil {
		t.Fatal(err)
	}
	said := &tail{}
	flags := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(executable(t)),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox,
		chromedp.CombinedOutput(said),
		chromedp.Flag("lang", o.Language),
		chromedp.Flag("accept-lang", o.Language),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-features", "Translate,MediaRouter,OptimizationHints,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable"),
		chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if o.In != nil {
				enter(cmd, o.In)
			}
		}),
	)
	if keys := fingerprints(t, o.Trust); keys != "" {
		flags = append(flags, chromedp.Flag("ignore-certificate-errors-spki-list", keys))
	}
	if rules := resolver(o.Hosts); rules != "" {
		flags = append(flags, chromedp.Flag("host-resolver-rules", rules))
	}
	outer, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, cancel := chromedp.NewContext(outer, chromedp.WithErrorf(said.logf))
	b := &Browser{t: t, ctx: ctx, o: o}
	t.Cleanup(func() {
		b.finish(said)
		cancel()
		stop()
		_ = os.RemoveAll(profile)
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v\n%s", err, said)
	}
	go b.listen(chromedp.Console(ctx)) // ends with ctx
	b.size(o.Desk)
	if o.Dark {
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
	}
	if o.NoScript {
		call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	return b
}

// enter makes cmd start in a namespace. The pipes to it are inherited.
func enter(cmd *exec.Cmd, ns *netlab.Namespace) {
	var thread int
	ns.Do(func() { thread = unix.Gettid() })
	args := append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/task/%d/ns/net", os.Getpid(), thread), cmd.Path}, cmd.Args[1:]...)
	path, err := exec.LookPath("nsenter")
	if err != nil {
		cmd.Err = err
		return
	}
	cmd.Path, cmd.Args = path, args
}

// fingerprints are the hashes of the public keys in PEM files, as the flag wants
// them.
func fingerprints(t testing.TB, files []string) string {
	t.Helper()
	var all []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			t.Fatalf("%s holds no certificate", name)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		all = append(all, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(all, ",")
}

func resolver(hosts map[string]string) string {
	var rules []string
	for name, addr := range hosts {
		rules = append(rules, "MAP "+name+" "+addr)
	}
	slices.Sort(rules)
	return strings.Join(rules, ",")
}

func (b *Browser) listen(messages func(func(chromedp.ConsoleMessage, error) bool)) {
	for m, err := range messages {
		if err != nil {
			return
		}
		if m.Type == "error" || m.Type == chromedp.ConsoleException || m.Type == "warning" && m.Source == "security" {
			b.mu.Lock()
			b.console = append(b.console, m.String())
			b.mu.Unlock()
		}
	}
}

// finish says what the test's end should know of the browser.
func (b *Browser) finish(said *tail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.console {
		if !slices.ContainsFunc(b.o.Expect, func(s string) bool { return strings.Contains(line, s) }) {
			b.t.Errorf("the page's console: %s", line)
		}
	}
	if !b.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	where, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	b.t.Logf("the browser was at %s:\n%s", where, text)
	if png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)); err == nil {
		b.t.Logf("the page as it was: %s", b.keep("failed", png))
	}
	b.t.Logf("chromium said at last:\n%s", said)
}

// Expect names parts of console errors that are no fault from here on: Chromium logs
// every status of 400 and above.
func (b *Browser) Expect(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.o.Expect = append(b.o.Expect, parts...)
}

// keep writes a picture and says where.
func (b *Browser) keep(name string, png []byte) string {
	dir := os.Getenv("POSTERN_TEST_SHOTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	name = strings.NewReplacer("/", "-", " ", "-").Replace(b.t.Name() + "-" + name)
	path := filepath.Join(dir, name+".png")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Error(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Error(err)
	}
	return path
}

// run runs an action and fails the test where it fails.
func run[T any](b *Browser, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return v
}

func call[P, R any](b *Browser, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	return run(b, cmd.Method, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, cmd, params) })
}

func (b *Browser) size(desk bool) {
	b.t.Helper()
	action := chromedp.EmulateViewport(phoneWidth, phoneHeight, chromedp.EmulateMobile, chromedp.EmulatePortrait, chromedp.EmulateTouch)
	if desk {
		action = chromedp.EmulateViewport(deskWidth, deskHeight)
	}
	run(b, "set the page's size", action)
}

// tail keeps the last of what a program prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if n := len(l.text); n > 8<<10 {
		l.text = slices.Clone(l.text[n-4<<10:])
	}
	return len(p), nil
}

func (l *tail) logf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
