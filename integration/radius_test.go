//go:build integration

package integration

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"postern/internal/mschap"
)

// answer is what radclient made of an exchange.
type answer struct {
	code  string   // "Access-Accept", or "" when there was none
	attrs []string // "Name = value", in the reply's order
	text  string
}

func (a answer) get(name string) string {
	for _, line := range a.attrs {
		if value, ok := strings.CutPrefix(line, name+" = "); ok {
			return value
		}
	}
	return ""
}

// signed is the attribute that makes radclient sign; first, as RFC 3579's
// successors want it.
const signed = "Message-Authenticator = 0x00"

// ask sends one packet with Debian's radclient, which checks the reply's
// authenticators, and waits two seconds twice.
func (l *lab) ask(t *testing.T, addr, kind, secret string, attrs ...string) answer {
	t.Helper()
	cmd := exec.Command("radclient", "-x", "-r", "2", "-t", "2", addr, kind, secret)
	cmd.Stdin = strings.NewReader(strings.Join(attrs, "\n") + "\n")
	out, err := l.net.OutputOf(cmd)
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	a := answer{text: out}
	for line := range strings.Lines(out) {
		if received, ok := strings.CutPrefix(line, "Received "); ok {
			a.code, _, _ = strings.Cut(received, " ")
			a.attrs = nil
		} else if a.code != "" && strings.HasPrefix(line, "\t") {
			a.attrs = append(a.attrs, strings.TrimSpace(line))
		}
	}
	return a
}

func quoted(name, value string) string { return name + " = " + strconv.Quote(value) }

func TestRADIUS(t *testing.T) {
	l := newLab(t)
	capture(t, l.net, "lo", "udp portrange 1812-1813", "radius")
	auth, secret := l.get(t, "RADIUS_ADDR"), l.get(t, "RADIUS_SECRET")
	host, port, err := net.SplitHostPort(auth)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	acct := net.JoinHostPort(host, strconv.Itoa(n+1))
	user, password := l.get(t, "USER_NO_MFA"), l.get(t, "PASSWORD_NO_MFA")
	nas := []string{"NAS-IP-Address = 127.0.0.1", "NAS-Port = 7", "NAS-Port-Type = Virtual", "Service-Type = Framed-User",
		"Framed-Protocol = PPP", "Calling-Station-Id = \"10.78.0.9\""}
	login := func(attrs ...string) []string { return append(append([]string{signed}, attrs...), nas...) }
	pap := func(name, word string) []string {
		return login(quoted("User-Name", name), quoted("User-Password", word))
	}

	want := func(t *testing.T, a answer, code string) {
		t.Helper()
		if a.code != code {
			t.Fatalf("answer %q, want %q\n%s", a.code, code, a.text)
		}
		// CVE-2024-3596: before anything an attacker could choose.
		if strings.HasPrefix(code, "Access-") && (len(a.attrs) == 0 || !strings.HasPrefix(a.attrs[0], "Message-Authenticator = ")) {
			t.Errorf("Message-Authenticator is not the first attribute of the reply: %q", a.attrs)
		}
	}

	t.Run("PAP", func(t *testing.T) {
		want(t, l.ask(t, auth, "auth", secret, pap(user, password)...), "Access-Accept")
	})
	t.Run("PAP with a code", func(t *testing.T) {
		code := newToken(t, l.get(t, "TOTP_URL")).code(t)
		attrs := pap(l.get(t, "USER")+"+"+code, l.get(t, "PASSWORD"))
		want(t, l.ask(t, auth, "auth", secret, attrs...), "Access-Accept")
		want(t, l.ask(t, auth, "auth", secret, attrs...), "Access-Reject")
	})
	t.Run("PAP, wrong password", func(t *testing.T) {
		want(t, l.ask(t, auth, "auth", secret, pap(user, password+"x")...), "Access-Reject")
	})
	t.Run("PAP, no such user", func(t *testing.T) {
		want(t, l.ask(t, auth, "auth", secret, pap("nobody-of-that-name", password)...), "Access-Reject")
	})
	t.Run("MS-CHAPv2", func(t *testing.T) {
		x := newChap(user, password)
		a := l.ask(t, auth, "auth", secret, login(append([]string{quoted("User-Name", user)}, x.attrs...)...)...)
		want(t, a, "Access-Accept")
		if got := a.get("MS-CHAP2-Success"); !strings.EqualFold(got, x.success) {
			t.Errorf("MS-CHAP2-Success = %s, want %s", got, x.success)
		}
		if got := a.get("MS-MPPE-Send-Key"); got != x.send {
			t.Errorf("MS-MPPE-Send-Key = %s, want %s", got, x.send)
		}
		if got := a.get("MS-MPPE-Recv-Key"); got != x.recv {
			t.Errorf("MS-MPPE-Recv-Key = %s, want %s", got, x.recv)
		}
	})
	t.Run("MS-CHAPv2, wrong password", func(t *testing.T) {
		x := newChap(user, password+"x")
		a := l.ask(t, auth, "auth", secret, login(append([]string{quoted("User-Name", user)}, x.attrs...)...)...)
		want(t, a, "Access-Reject")
		if got := a.get("MS-CHAP-Error"); !strings.Contains(got, "E=691") {
			t.Errorf("MS-CHAP-Error = %s", got)
		}
	})
	t.Run("accounting", func(t *testing.T) {
		for i, event := range []string{"Start", "Interim-Update", "Stop"} {
			a := l.ask(t, acct, "acct", secret, append([]string{
				"Acct-Status-Type = " + event, "Acct-Session-Id = \"integration-1\"", quoted("User-Name", user),
				fmt.Sprintf("Acct-Session-Time = %d", 60*i), fmt.Sprintf("Acct-Input-Octets = %d", 1000*i),
				"Framed-IP-Address = 10.99.0.7"}, nas...)...)
			want(t, a, "Accounting-Response")
		}
	})
	t.Run("Status-Server", func(t *testing.T) {
		want(t, l.ask(t, auth, "status", secret, signed), "Access-Accept")
		want(t, l.ask(t, acct, "status", secret, signed), "Accounting-Response")
	})
	// Who does not know the secret, or will not sign, learns nothing: not even that
	// the name exists.
	for name, attempt := range map[string]struct {
		secret string
		attrs  []string
	}{
		"wrong secret":                          {secret + "x", pap(user, password)},
		"no Message-Authenticator":              {secret, pap(user, password)[1:]},
		"Status-Server, wrong secret":           {secret + "x", nil},
		"no Message-Authenticator, Proxy-State": {secret, append(pap(user, password)[1:], "Proxy-State = 0x6162")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, attrs := "auth", attempt.attrs
			if attrs == nil {
				kind, attrs = "status", []string{signed}
			}
			if a := l.ask(t, auth, kind, attempt.secret, attrs...); a.code != "" {
				t.Errorf("answered with %s:\n%s", a.code, a.text)
			}
		})
	}
}

// chapLogin is a client's half of an MS-CHAPv2 login, and what the service must
// answer to it, as radclient prints it.
type chapLogin struct {
	attrs               []string
	success, send, recv string
}

func newChap(name, password string) chapLogin {
	var peer, authenticator [16]byte
	rand.Read(peer[:])
	rand.Read(authenticator[:])
	const ident = 7
	nt := mschap.NTHash(password)
	hh := mschap.HashHash(&nt)
	challenge := mschap.ChallengeHash(&peer, &authenticator, name)
	response := mschap.NTResponse(challenge, &nt)
	master := mschap.MasterKey(&hh, &response)
	send, recv := mschap.StartKeys(&master, true)
	// RFC 2548 section 2.3.2: Ident, Flags, Peer-Challenge, Reserved, Response.
	return chapLogin{
		attrs: []string{
			fmt.Sprintf("MS-CHAP-Challenge = 0x%x", authenticator),
			fmt.Sprintf("MS-CHAP2-Response = 0x%02x00%x%016x%x", ident, peer, 0, response),
		},
		success: fmt.Sprintf("0x%02x%x", ident, mschap.AuthenticatorResponse(&hh, &response, challenge)),
		send:    fmt.Sprintf("0x%x", send),
		recv:    fmt.Sprintf("0x%x", recv),
	}
}
