package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"postern/pptp/client"
)

// The tour's clients, all on this host: each has an address of its own, so that a
// guesser's lockout is not everybody's.
var (
	sourceAlice   = netip.MustParseAddr("127.0.0.2")
	sourceGuesser = netip.MustParseAddr("127.0.0.3")
)

// maxGuesses is far above any lockout threshold the lab would have.
const maxGuesses = 12

// tour dials in and narrates. Its error says that something was not as it should be.
func (l *lab) tour(ctx context.Context) error {
	n := l.say
	n.line("%s", n.paint("1", "Postern lab"))
	n.note("node      PPTP on %v, tunnels' inside %v", l.dialAddr(), l.files.Plan.node)
	n.note("service   RADIUS over TLS on %v; store: %s", l.files.RadSec, l.storeName())
	n.note("inside    host %v behind the node, in network namespace %s", l.files.Plan.host, l.network.name)
	n.note("portal    %s", l.files.PortalURL)
	n.note("users     %s needs a one-time code, %s may give hers in the portal, %s (a machine) needs none", userName, userDesk, userMachine)

	for _, step := range []func(context.Context){
		l.withoutCode, l.withCode, l.desk, l.wrongPasswords, l.refusedNetwork,
	} {
		if step(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	n.line("")
	if n.wrong > 0 {
		return fmt.Errorf("%d things in the tour were not as they should be", n.wrong)
	}
	n.line("Every step did what it should.")
	return nil
}

func (l *lab) storeName() string {
	if l.opts.Redis != "" {
		return "Redis"
	}
	return "one file, " + l.state.path("store.db")
}

// dial logs in from an address of this host.
func (l *lab) dial(ctx context.Context, from netip.Addr, user, password string) (*client.Session, error) {
	return client.Dial(ctx, client.Config{Server: l.dialAddr(), Local: from, User: user, Password: password, Timeout: 20 * time.Second})
}

// decision is what the tour reads of an audit line about a login.
type decision struct {
	Msg    string `json:"msg"`
	ID     string `json:"decision"`
	Reason string `json:"reason"`
	Rule   string `json:"rule"`
}

// lastDecision reads the newest audit line about a login. Lines about sessions may come
// behind it.
func (l *lab) lastDecision() decision {
	var last decision
	f, err := os.Open(l.state.path("audit.json"))
	if err != nil {
		return last
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var d decision
		if json.Unmarshal(s.Bytes(), &d) == nil && d.Msg == "login" {
			last = d
		}
	}
	return last
}

// refusal expects a dial to be refused for a reason, and says what client and
// operator see of it.
func (l *lab) refusal(s *client.Session, err error, reason string) bool {
	d := l.lastDecision()
	if err == nil {
		_ = s.Close()
		return l.say.check(false, "there is a session, and there should be none")
	}
	var refused *client.RefusedError
	if !errors.As(err, &refused) {
		return l.say.check(false, "no clean refusal: %v", err)
	}
	l.say.note("the client sees: %v", err)
	ok := d.Reason == reason
	if !ok {
		return l.say.check(false, "refused; the audit log says %q, not %q", d.Reason, reason)
	}
	return l.say.check(true, "refused; the audit log says why: %s", d.Reason)
}

func (l *lab) withoutCode(ctx context.Context) {
	l.say.step("The right password, but no one-time code")
	l.say.note("%s dials in", userName)
	s, err := l.dial(ctx, sourceAlice, userName, l.state.secrets.Password)
	l.refusal(s, err, "code missing")
}

func (l *lab) withCode(ctx context.Context) {
	n := l.say
	n.step("The right password and a one-time code behind the name")
	code, err := l.code(ctx, &l.state.secrets.Token)
	if err != nil {
		n.check(false, "no code: %v", err)
		return
	}
	user := userName + "+" + code
	n.note("%s dials in", user)
	start := time.Now()
	s, err := l.dial(ctx, sourceAlice, user, l.state.secrets.Password)
	if err == nil {
		l.session(ctx, s, time.Since(start))
	} else {
		n.check(false, "no session: %v (audit log: %s)", err, l.lastDecision().Reason)
	}

	n.step("The same code once more")
	n.note("%s dials in again, or somebody who looked over a shoulder", user)
	s, err = l.dial(ctx, sourceAlice, user, l.state.secrets.Password)
	l.refusal(s, err, "code replayed")
}

// session shows a session that is up, and ends it.
func (l *lab) session(ctx context.Context, s *client.Session, took time.Duration) {
	n := l.say
	send, recv := s.MPPE()
	n.check(true, "session up in %v: address %v, DNS %v", took.Round(time.Millisecond), s.Local(), s.DNS())
	n.check(l.files.Plan.pool.Contains(s.Local()) && s.Peer() == l.files.Plan.node, "the address is from the policy's pool, the other end is the node's (%v)", s.Peer())
	n.check(send != "" && recv != "", "MPPE agreed: %s from the client, %s to it", send, recv)
	l.pings(ctx, s)
	st := s.Stats()
	n.check(st.OutPackets >= 3 && st.InPackets >= 3, "counted: %d packets and %d octets out, %d packets and %d octets in",
		st.OutPackets, st.OutOctets, st.InPackets, st.InOctets)
	n.check(s.Close() == nil, "hung up")
}

// pings reaches the host behind the node.
func (l *lab) pings(ctx context.Context, s *client.Session) {
	n := l.say
	for _, size := range []int{56, 512, 1372} {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		rtt, err := s.Ping(ctx, l.files.Plan.host, size)
		cancel()
		if err != nil {
			n.check(false, "ping of %d octets to %v: %v", size, l.files.Plan.host, err)
			continue
		}
		n.check(true, "ping of %d octets to %v through the tunnel: %v", size, l.files.Plan.host, rtt.Round(10*time.Microsecond))
	}
}

func (l *lab) wrongPasswords(ctx context.Context) {
	n := l.say
	n.step("Somebody guesses passwords")
	if l.opts.NoLockout {
		n.note("skipped: --no-lockout")
		return
	}
	for i := 1; i <= maxGuesses && ctx.Err() == nil; i++ {
		s, err := l.dial(ctx, sourceGuesser, userVictim, fmt.Sprintf("guess %d", i))
		d := l.lastDecision()
		var refused *client.RefusedError
		switch {
		case err == nil:
			_ = s.Close()
			n.check(false, "guess %d gave a session", i)
			return
		case !errors.As(err, &refused):
			n.check(false, "guess %d: %v", i, err)
			return
		case d.Reason == "locked out":
			n.check(true, "guess %d: %s; the directory was not asked any more", i, d.Reason)
			n.note("now the right password, from the same address")
			s, err = l.dial(ctx, sourceGuesser, userVictim, l.state.secrets.VictimPassword)
			l.refusal(s, err, "locked out")
			return
		default:
			n.note("guess %d: the client sees %v; the audit log says %s", i, err, d.Reason)
		}
	}
	n.check(false, "no lockout after %d guesses", maxGuesses)
}

func (l *lab) refusedNetwork(ctx context.Context) {
	l.say.step("A network that the policy refuses")
	l.say.note("%s dials in from %v, with the right password", userMachine, refusedSource)
	s, err := l.dial(ctx, refusedSource, userMachine, l.state.secrets.MachinePassword)
	if l.refusal(s, err, "source denied") {
		l.say.note("rule: %s", l.lastDecision().Rule)
	}
}

// code computes a one-time code as an authenticator app does, and waits for the next
// where this lab has used the current one before: the service takes each once.
func (l *lab) code(ctx context.Context, t *token) (string, error) {
	key, err := otp.NewKeyFromURL(t.URL)
	if err != nil {
		return "", err
	}
	period := int64(key.Period())
	step := time.Now().Unix() / period
	if step <= t.LastStep {
		next := time.Unix((t.LastStep+1)*period, 0)
		l.say.note("the current code was used in an earlier tour; the next comes in %v", time.Until(next).Round(time.Second))
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return "", ctx.Err()
		}
		step = t.LastStep + 1
	}
	t.LastStep = step
	_ = l.state.save() // at worst the next tour's first code is a replay
	return hotp.GenerateCodeCustom(key.Secret(), uint64(step), hotp.ValidateOpts{Digits: key.Digits(), Algorithm: key.Algorithm()})
}

// invite tells how to connect a client of the reader's own.
func (l *lab) invite() {
	n, x := l.say, &l.state.secrets
	n.line("")
	n.line("%s", n.paint("1", "The lab is up. Connect a client of yours:"))
	n.note("PPTP server   %s   (TCP 1723 and GRE, IP protocol 47)", l.reachable())
	n.note("user          %s+CODE   password %s", userName, x.Password)
	n.note("              CODE from an authenticator app with this token:")
	n.note("              %s", x.Token.URL)
	n.note("or            %s        password %s   (no code)", userMachine, x.MachinePassword)
	n.note("or            %s          password %s   (code in the portal, where http:// leads)", userDesk, x.DeskPassword)
	n.note("              %s", x.DeskToken.URL)
	n.note("then ping     %v", l.files.Plan.host)
	n.note("Debian        apt-get install pptp-linux, then pon with mppe required (see deploy/clients.md)")
	if l.files.Radius.IsValid() {
		n.note("RADIUS        %v and port %d, secret %s (from loopback)", l.files.Radius, l.files.RadiusAcct.Port(), x.RadiusSecret)
	}
	n.note("for scripts   %s", l.state.path("lab.env"))
	n.note("decisions     %s", l.state.path("audit.json"))
	n.note("and why       postern --config %s explain DECISION", l.state.path("radiusd.yaml"))
	n.line("Ctrl-C ends it.")
}

// reachable is the address a client elsewhere would use.
func (l *lab) reachable() string {
	if a := l.files.Listen; !a.Addr().IsUnspecified() {
		return a.Addr().String()
	}
	return "any address of this host"
}
