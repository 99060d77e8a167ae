//go:build integration

package integration

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"postern/integration/netlab"
	"postern/internal/mschap"
)

const secretsService = `node: service1
radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813", deadline: 10s}
clients:
  - {name: switches, networks: [127.0.0.1], secret_file: secret, allow_pap: true, code_in_password: true}
  - {name: gw1, networks: [127.0.0.2], secret_file: secret.node, node: true}
store: {kind: redis, urls: ["redis://127.0.0.1:6379"], password: {secret_file: secret.redis}, timeout: 3s}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
mfa: {digits: 8}
lockout: {user: {failures: 100}, source: {failures: 100}, pair: {failures: 100}, code: {failures: 100}}
audit: {file: audit.json}
portal: {listen: "127.0.0.1:8443", url: "` + portalURL + `", cert_file: portal.pem, key_file: portal.key}
log: {level: debug}
`

const secretsPolicy = `version: 1
pools: {people: [10.99.0.10-10.99.0.250]}
rules:
  - id: consoles
    when: {tunnel: none, group: staff}
    then: {permit: {carriers: [password, challenge]}}
  - id: people
    when: {tunnel: PPTP, group: [staff, late]}
    then: {permit: {carriers: [inline, remembered, quarantine], remember: {for: 8h}, quarantine: 10m, pool: people}}
`

const (
	nodeSecret  = "between-gw1-and-service1"
	redisSecret = "between-service1-and-redis"
	// Each password is somebody's, or nobody's who guesses.
	alicePassword, carolPassword = "Tr0ubadour&3", "élan vital 7"
	guessedPassword              = "Tr0ubadour&4"
)

// vault is a service, its Redis, and what must not be found in anything they write.
type vault struct {
	*domain
	redis    *goredis.Client
	hidden   []hidden
	calls    int
	recovery []string
	ticket   string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	for _, program := range []string{"redis-server", "radclient"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v (integration/apt.sh)", err)
		}
	}
	v := &vault{domain: &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: radius}}
	v.serveRedis(t)
	(&portal{domain: v.domain}).certify(t)
	for name, text := range map[string]string{
		"secret": domainSecret, "secret.node": nodeSecret, "secret.redis": redisSecret, "radiusd.yaml": secretsService, "policy.yaml": secretsPolicy,
	} {
		if err := os.WriteFile(filepath.Join(v.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v.tool(t, "", "keyring", "create")
	v.tool(t, alicePassword, "user", "add", "alice", "--group", "staff")
	v.tool(t, carolPassword, "user", "add", "carol", "--group", "late")
	v.tool(t, carolPassword, "user", "add", "dave", "--group", "late")
	v.hide(hideText("the RADIUS secret of the switches", domainSecret), hideText("the RADIUS secret of the node", nodeSecret),
		hideText("the password of Redis", redisSecret))
	for whose, password := range map[string]string{"alice's": alicePassword, "carol's": carolPassword, "a guessed": guessedPassword} {
		nt := mschap.NTHash(password)
		hh := mschap.HashHash(&nt)
		v.hide(hideText(whose+" password", password), hide("the NT hash of "+whose+" password", nt[:]),
			hide("the hash of the NT hash of "+whose+" password", hh[:]))
	}
	ring := v.file(t, "keys")
	for _, m := range regexp.MustCompile(`(?m)^[^#\s]+ (\S+)$`).FindAllStringSubmatch(string(ring), -1) {
		key, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatalf("key ring: %v", err)
		}
		v.hide(hide("a key of the ring", key))
	}
	return v
}

// serveRedis starts one that writes down every command that changes anything, and packs
// nothing.
func (v *vault) serveRedis(t *testing.T) {
	t.Helper()
	cmd := exec.Command("redis-server", "--port", "6379", "--bind", "127.0.0.1", "--dir", v.dir, "--requirepass", redisSecret,
		"--save", "", "--rdbcompression", "no", "--dbfilename", "dump.rdb",
		"--appendonly", "yes", "--appendfsync", "always", "--appenddirname", "aof", "--auto-aof-rewrite-percentage", "0")
	if err := v.net.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	v.redis = goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:6379", Password: redisSecret, Dialer: func(context.Context, string, string) (c net.Conn, err error) {
		v.net.Do(func() { c, err = net.Dial("tcp", "127.0.0.1:6379") })
		return c, err
	}})
	t.Cleanup(func() { _ = v.redis.Close() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := v.redis.Ping(context.Background()).Err()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("Redis does not answer: %v", err)
		}
	}
}

// serve starts the service, whose log goes to a file.
func (v *vault) serve(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(v.dir, "service.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(binaries, "postern-radiusd"), "-config", filepath.Join(v.dir, "radiusd.yaml"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := v.net.Start(cmd); err != nil {
		t.Fatal(err)
	}
	v.service = cmd
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the service said:\n%s", v.file(t, "service.log"))
		}
	})
	for end := time.Now().Add(30 * time.Second); !strings.Contains(string(v.file(t, "service.log")), `"msg":"running"`); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the service is not ready")
		}
	}
}

func (v *vault) file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(v.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (v *vault) hide(h ...hidden) { v.hidden = append(v.hidden, h...) }

// made runs the operator's tool and reads what it has made.
func (v *vault) made(t *testing.T, made any, args ...string) {
	t.Helper()
	out := v.tool(t, "", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), made); err != nil {
		t.Fatalf("postern %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// equip gives the users second factors.
func (v *vault) equip(t *testing.T) {
	t.Helper()
	v.enroll(t)
	for i, k := range v.tokens {
		v.hideSeed(t, fmt.Sprint("seed ", i), k.key.Secret())
	}
	var recovery struct{ Codes []string }
	v.made(t, &recovery, "mfa", "recovery", "alice")
	if len(recovery.Codes) != 10 {
		t.Fatalf("%d recovery codes", len(recovery.Codes))
	}
	for i, code := range recovery.Codes {
		v.hide(hideText(fmt.Sprint("recovery code ", i), code, strings.ReplaceAll(code, "-", "")))
	}
	v.recovery = recovery.Codes
	for _, user := range []string{"dave", "carol"} { // of which carol uses hers
		var ticket struct{ Code string }
		v.made(t, &ticket, "mfa", "ticket", user)
		// What stands in front of the second dash names the ticket, in its key.
		plain := strings.ReplaceAll(ticket.Code, "-", "")
		if len(plain) != 24 {
			t.Fatalf("the ticket's code has %d characters", len(plain))
		}
		v.hide(hideText("the ticket of "+user, plain[8:], ticket.Code[10:]))
		v.ticket = ticket.Code
	}
}

func (v *vault) hideSeed(t *testing.T, what, text string) {
	t.Helper()
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	h := hide(what, seed)
	h.forms = append(h.forms, []byte(text))
	v.hide(h)
}

// oneTime is one of alice's codes.
func (v *vault) oneTime(t *testing.T) string {
	t.Helper()
	code := v.code(t)
	v.hide(hideText(fmt.Sprint("code ", len(v.hidden)), code))
	return code
}

// mistyped is a code that is nobody's but for one time in millions.
func (v *vault) mistyped(t *testing.T) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(90_000_000))
	if err != nil {
		t.Fatal(err)
	}
	code := fmt.Sprint(n.Int64() + 10_000_000)
	v.hide(hideText(fmt.Sprint("mistyped code ", len(v.hidden)), code))
	return code
}

// settled wants an answer and, in the audit log, its reason.
func (v *vault) settled(t *testing.T, about string, a answer, code, reason string) answer {
	t.Helper()
	if e := v.last(t); a.code != code || e.Reason != reason {
		t.Fatalf("%s: %q, %+v; want %q, %q\n%s", about, a.code, e, code, reason, a.text)
	}
	return a
}

// dial logs in at the node by MS-CHAPv2, and begins a session if it may.
func (v *vault) dial(t *testing.T, name, password, code, reason string) {
	t.Helper()
	v.calls++
	x := newChap(name, password)
	for i, hexed := range regexp.MustCompile(`0x[0-9a-f]+`).FindAllString(strings.Join(x.attrs, " ")+" "+x.send+" "+x.recv, -1) {
		octets, err := hex.DecodeString(hexed[2:])
		if err != nil {
			t.Fatal(err)
		}
		what := []string{"challenge", "response", "key to send", "key to receive"}[i]
		if what == "response" { // behind ident, flags, the peer's challenge and eight zeros
			octets = octets[26:]
		}
		v.hide(hide(fmt.Sprintf("the %s of dial %d", what, v.calls), octets))
	}
	nas := []string{
		"Packet-Src-IP-Address = 127.0.0.2", quoted("User-Name", name), `NAS-Identifier = "gw1"`, `Calling-Station-Id = "192.0.2.9"`,
		quoted("Acct-Session-Id", fmt.Sprint("call", v.calls)), "Tunnel-Type:0 = PPTP",
	}
	a := v.settled(t, name, v.ask(t, v.radius, "auth", nodeSecret, slices.Concat([]string{signed}, nas, x.attrs)...), code, reason)
	if code == "Access-Accept" {
		start := append(nas, "Acct-Status-Type = Start", "Class = "+a.get("Class"), "Framed-IP-Address = "+a.get("Framed-IP-Address"))
		if got := v.ask(t, "127.0.0.1:1813", "acct", nodeSecret, start...); got.code != "Accounting-Response" {
			t.Fatalf("accounting: %s", got.text)
		}
	}
}

// console logs alice in at a switch by PAP.
func (v *vault) console(t *testing.T, name, password, code, reason string, more ...string) string {
	t.Helper()
	a := v.settled(t, name+" at a console", v.ask(t, v.radius, "auth", domainSecret, append([]string{signed, quoted("User-Name", name),
		quoted("User-Password", password), `NAS-Identifier = "sw1"`, `Calling-Station-Id = "192.0.2.10"`}, more...)...), code, reason)
	return "State = " + a.get("State")
}

// Whoever gets hold of Redis, of a copy of it, of the users file or of the logs gets
// nothing that opens a door: no seed, no code, no password, no hash of one, no key.
func TestNothingToSteal(t *testing.T) {
	v := newVault(t)
	v.equip(t)
	v.serve(t)

	v.dial(t, "alice+"+v.oneTime(t), alicePassword, "Access-Accept", "permitted")
	v.dial(t, "alice", alicePassword, "Access-Accept", "permitted") // remembered
	v.dial(t, "alice", guessedPassword, "Access-Reject", "wrong password")
	v.dial(t, "alice+"+v.oneTime(t), guessedPassword, "Access-Reject", "wrong password")
	v.dial(t, "alice+"+v.mistyped(t), alicePassword, "Access-Reject", "code wrong")
	v.dial(t, "carol", carolPassword, "Access-Accept", "quarantined")
	v.dial(t, "mallory+"+v.mistyped(t), guessedPassword, "Access-Reject", "no such user")

	state := v.console(t, "alice", alicePassword, "Access-Challenge", "challenged")
	v.console(t, "alice", v.oneTime(t), "Access-Accept", "permitted", state)
	v.console(t, "alice", v.oneTime(t), "Access-Reject", "state invalid", state)
	state = v.console(t, "alice", alicePassword, "Access-Challenge", "challenged")
	v.console(t, "alice", v.mistyped(t), "Access-Reject", "code wrong", state)
	v.console(t, "alice", alicePassword+v.oneTime(t), "Access-Accept", "permitted")
	v.console(t, "alice", alicePassword+v.mistyped(t), "Access-Reject", "code wrong")
	v.console(t, "alice", guessedPassword, "Access-Reject", "wrong password")
	v.console(t, "alice+"+v.oneTime(t), guessedPassword, "Access-Reject", "wrong password")

	v.visitPortal(t)

	text, keys := everything(t, v.redis)
	// An empty Redis would have nothing to steal either.
	for _, want := range []string{
		"{user:alice}:tokens", "{user:alice}:recovery", "{user:alice}:steps", "{user:alice}:grants", "{user:alice}:state:", "{user:alice}:code",
		"{user:alice}:fail", "{user:alice}:live", "{user:alice}:recovery:used", "{user:carol}:tokens", "{user:dave}:tickets", "{ticket:", "{sess:", "{user:alice}:good:",
		"{portal:",
	} {
		if !slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, want) }) {
			t.Errorf("no key %s… among %q", want, keys)
		}
	}
	places := v.places(t)
	places["Redis"] = text
	for where, text := range places {
		if found := leaks(text, v.hidden); len(text) == 0 || len(found) > 0 {
			t.Errorf("%s, %d octets: %q", where, len(text), found)
		}
	}
	t.Logf("%d secrets, %d keys", len(v.hidden), len(keys))
	v.plant(t, places)
}

// visitPortal uses a recovery code and a ticket, and sets a device up.
func (v *vault) visitPortal(t *testing.T) {
	t.Helper()
	b := v.visitor(t)
	b.get("/").submit("/sign-in", "name", "alice", "password", alicePassword, "recovery", v.recovery[3])
	b.want("My connections")
	v.hide(hideText("the cookie of alice", b.cookie()))

	b = v.visitor(t)
	b.get("/enrol?ticket=" + v.ticket).submit("/enrol/ticket")
	b.want("For carol").submit("/enrol", "label", "Phone")
	secret := strings.ReplaceAll(b.find(`id="secret">([A-Z2-7 ]+)<`)[0], " ", "")
	v.hideSeed(t, "the seed of carol", secret)
	k := newToken(t, "otpauth://totp/x?digits=8&secret="+secret)
	wrong, code := v.mistyped(t), k.code(t)
	v.hide(hideText("code of carol", code))
	b.submit("/enrol/device", "code", wrong)
	b.want("This code does not match").submit("/enrol/device", "code", code)
	codes := b.find(`<code>([0-9A-Z-]{19})</code>`)
	if len(codes) != 10 {
		t.Fatalf("%d recovery codes", len(codes))
	}
	for i, code := range codes {
		v.hide(hideText(fmt.Sprint("recovery code of carol ", i), code, strings.ReplaceAll(code, "-", "")))
	}
	v.hide(hideText("the cookie of carol", b.cookie()))
	b.submit("/recovery")
	b.want("All set")
	// What has been begun and not been finished lies somewhere, too.
	b = v.visitor(t)
	b.get("/").submit("/sign-in", "name", "carol", "password", carolPassword, "recovery", codes[9])
	b.want("My connections")
	v.hide(hideText("another cookie of carol", b.cookie()))
	b.get("/enrol").submit("/enrol", "label", "Tablet")
	v.hideSeed(t, "the pending seed of carol", strings.ReplaceAll(b.find(`id="secret">([A-Z2-7 ]+)<`)[0], " ", ""))

	b = v.visitor(t)
	b.get("/").submit("/sign-in", "name", "alice", "password", guessedPassword, "code", v.mistyped(t))
	b.want("is not right")

	// Who signs in has his wrong codes forgotten; so another one comes last.
	v.console(t, "alice", alicePassword+v.mistyped(t), "Access-Reject", "code wrong")
}

// places are the files.
func (v *vault) places(t *testing.T) map[string][]byte {
	t.Helper()
	if err := v.redis.Save(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{"the dump": v.file(t, "dump.rdb")}
	for _, name := range []string{"users", "audit.json", "service.log"} {
		all[name] = v.file(t, name)
	}
	parts, err := filepath.Glob(filepath.Join(v.dir, "aof", "*.incr.aof"))
	if err != nil || len(parts) == 0 {
		t.Fatalf("no log of commands: %v", err)
	}
	for _, p := range parts { // all that was ever written, what has lapsed since included
		all["the log of commands"] = append(all["the log of commands"], v.file(t, filepath.Join("aof", filepath.Base(p)))...)
	}
	return all
}

// plant puts each secret, in each of its forms, where it must not be, and looks whether
// the search finds it.
func (v *vault) plant(t *testing.T, places map[string][]byte) {
	t.Helper()
	ctx := context.Background()
	n := 0
	for _, h := range v.hidden {
		for _, form := range h.forms {
			for where, text := range places {
				if found := leaks(slices.Concat(text, form, text), []hidden{h}); len(found) != 1 {
					t.Errorf("%s in %s as %q is not found", h.what, where, form)
				}
			}
			n++
		}
	}
	t.Logf("%d forms", n)

	// Every kind of value that Redis has.
	plants := []func(key string, secret []byte) goredis.Cmder{
		func(key string, s []byte) goredis.Cmder { return v.redis.Set(ctx, key, s, time.Hour) },
		func(key string, s []byte) goredis.Cmder { return v.redis.Set(ctx, key+string(s), "1", time.Hour) },
		func(key string, s []byte) goredis.Cmder { return v.redis.HSet(ctx, key, "f", s) },
		func(key string, s []byte) goredis.Cmder { return v.redis.HSet(ctx, key, s, "1") },
		func(key string, s []byte) goredis.Cmder { return v.redis.RPush(ctx, key, s) },
		func(key string, s []byte) goredis.Cmder { return v.redis.SAdd(ctx, key, s, "other") },
		func(key string, s []byte) goredis.Cmder {
			return v.redis.ZAdd(ctx, key, goredis.Z{Score: 1, Member: s})
		},
		func(key string, s []byte) goredis.Cmder {
			return v.redis.XAdd(ctx, &goredis.XAddArgs{Stream: key, Values: []any{"f", s}})
		},
	}
	for i, put := range plants {
		h := v.hidden[(len(v.hidden)*i)/len(plants)]
		form := h.forms[i%5] // those of octets, each kind in turn
		if err := put(fmt.Sprint("plant:", i), form).Err(); err != nil {
			t.Fatal(err)
		}
		text, _ := everything(t, v.redis)
		now := v.places(t)
		for where, text := range map[string][]byte{"Redis": text, "the dump": now["the dump"], "the log of commands": now["the log of commands"]} {
			if found := leaks(text, v.hidden); !slices.Contains(found, h.what) {
				t.Errorf("%s, put into %s as %q by way %d, is not found", h.what, where, form, i)
			}
		}
	}
	// A code is what Redis makes a number of.
	for i := len(v.hidden) - 1; i >= 0; i-- {
		if h := v.hidden[i]; strings.HasPrefix(h.what, "code ") {
			var digits []byte
			for _, f := range h.forms {
				if len(f) == 8 && strings.Trim(string(f), "0123456789") == "" {
					digits = f
				}
			}
			if err := v.redis.Set(ctx, "plant:code", digits, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			if found := leaks(v.places(t)["the dump"], v.hidden); !slices.Contains(found, h.what) {
				t.Errorf("%s is not found in the dump", h.what)
			}
			return
		}
	}
	t.Error("no code was used")
}
