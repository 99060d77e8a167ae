package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/cmd/internal/pki"
	"postern/internal/seal"
)

// The lab's people. victim is there to be attacked in the tour.
const (
	userName    = "alice"
	userMachine = "scanner"
	userVictim  = "victim"
	userDesk    = "carol" // whose client has no place for a code

	groupPeople   = "lab-people"
	groupMachines = "lab-machines"
	groupDesk     = "lab-desk"
)

// refusedSource is the address the lab's policy turns away.
var refusedSource = netip.MustParseAddr("127.0.0.66")

// secrets is what the lab makes up on first use, and what a client needs to know.
type secrets struct {
	Password        string `json:"password"`
	MachinePassword string `json:"machine_password"`
	VictimPassword  string `json:"victim_password"`
	DeskPassword    string `json:"desk_password"`
	RadiusSecret    string `json:"radius_secret"`
	Token           token  `json:"token"`      // alice's
	DeskToken       token  `json:"desk_token"` // carol's
}

// token is what an authenticator app has, and what we remember of it.
type token struct {
	URL      string `json:"url"`
	ID       string `json:"id"`
	LastStep int64  `json:"last_step"` // of the code that a tour used last
}

// state is the lab's directory.
type state struct {
	dir     string
	secrets secrets
	unlock  func()
}

func (s *state) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// openState reads the directory, or makes it. It is one lab's at a time.
func openState(dir string) (_ *state, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s := &state{dir: dir}
	for _, d := range []string{"", "secrets", "tls", "spool"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, err
		}
	}
	// Not dir itself: who changes the users file locks that.
	s.unlock, err = lockDir(s.path("secrets"), unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.New("another lab is using it")
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	// Who waits for it must not take a former lab's.
	if err := os.Remove(s.path("lab.env")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	b, err := os.ReadFile(s.path("secrets", "lab.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = s.make()
	case err == nil:
		if err = json.Unmarshal(b, &s.secrets); err != nil {
			err = fmt.Errorf("secrets/lab.json: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, s.certificates()
}

// close lets other labs have the directory.
func (s *state) close() { s.unlock() }

// make fills an empty directory. lab.json comes last: a start that was cut short
// begins again.
func (s *state) make() error {
	s.secrets = secrets{
		Password: rand.Text()[:16], MachinePassword: rand.Text()[:16], VictimPassword: rand.Text()[:16],
		DeskPassword: rand.Text()[:16], RadiusSecret: rand.Text(),
	}
	ring, err := seal.ReadFile(s.path("secrets", "keys"))
	if errors.Is(err, fs.ErrNotExist) {
		ring, err = seal.CreateFile(s.path("secrets", "keys"))
	}
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("secrets", "radius"), []byte(s.secrets.RadiusSecret+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Remove(s.path("users")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	users := &directory.Users{Path: s.path("users"), Ring: ring}
	if err := errors.Join(
		users.Add(directory.User{Name: userName, Groups: []string{groupPeople}}, s.secrets.Password),
		users.Add(directory.User{Name: userVictim, Groups: []string{groupPeople}}, s.secrets.VictimPassword),
		users.Add(directory.User{Name: userDesk, Groups: []string{groupDesk}}, s.secrets.DeskPassword),
		users.Add(directory.User{Name: userMachine, Groups: []string{groupMachines}}, s.secrets.MachinePassword),
	); err != nil {
		return err
	}
	return s.save()
}

func (s *state) save() error {
	b, err := json.MarshalIndent(&s.secrets, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.path("secrets", "lab.json"), append(b, '\n'), 0o600)
}

// certificates makes a certification authority and an identity each for node and
// service, for the RadSec connection between them, and for the portal; those near their end anew.
func (s *state) certificates() error {
	ca, err := pki.Open(s.path("tls"))
	if err != nil {
		return err
	}
	_, errNode := ca.Issue("node", pki.ForClient, nodeCertName)
	_, errService := ca.Issue("service", pki.ForServer, "service.postern.lab", "127.0.0.1")
	_, errPortal := ca.Issue("portal", pki.ForServer, portalName)
	return errors.Join(errNode, errService, errPortal)
}

// nodeCertName is how the service knows the node.
const nodeCertName = "node.postern.lab"

// enroll gives everybody with a code a token, unless the store has the one we know.
// Another Redis, or a flushed one, or one that another lab has used, has not.
func (s *state) enroll(ctx context.Context, v *mfa.Verifier) error {
	return errors.Join(s.enrollOne(ctx, v, userName, &s.secrets.Token), s.enrollOne(ctx, v, userDesk, &s.secrets.DeskToken))
}

func (s *state) enrollOne(ctx context.Context, v *mfa.Verifier, user string, known *token) error {
	tokens, err := v.Tokens(ctx, user)
	if err != nil {
		return err
	}
	if len(tokens) == 1 && tokens[0].ID == known.ID {
		return nil
	}
	if err := v.Reset(ctx, user); err != nil {
		return err
	}
	e, err := v.Enroll(ctx, time.Now(), user, "lab")
	if err != nil {
		return err
	}
	*known = token{URL: e.URL, ID: e.Token.ID}
	return s.save()
}

// files are the lab's configuration, written anew at every start; they are the
// same that postern-gateway and postern-radiusd read.
type files struct {
	Plan      plan
	Listen    netip.AddrPort
	Radius    netip.AddrPort // invalid: no RADIUS/UDP
	RadSec    netip.AddrPort
	Redis     string
	NoLockout bool
	Stateful  bool

	Portal                                         netip.AddrPort
	PortalURL                                      string
	First, Last, Inside, Node, Pool, Host, Refused string
	TUN                                            string // of this process: two labs need two
	RadiusAcct                                     netip.AddrPort
	People, Machines, Desk                         string
}

// write writes the three files.
func (s *state) write(f *files) error {
	f.First, f.Last, f.Inside, f.Node = f.Plan.first.String(), f.Plan.last.String(), f.Plan.inside.String(), f.Plan.node.String()
	f.Portal = netip.AddrPortFrom(f.Plan.router, portalPort)
	f.PortalURL = fmt.Sprintf("https://%s:%d", portalName, portalPort)
	f.Pool, f.Host, f.Refused = f.Plan.pool.String(), f.Plan.host.String(), refusedSource.String()
	f.People, f.Machines, f.Desk = groupPeople, groupMachines, groupDesk
	f.TUN = fmt.Sprintf("plt%d", os.Getpid())
	for name, text := range map[string]string{"gateway.yaml": gatewayYAML, "radiusd.yaml": radiusdYAML, "policy.yaml": policyYAML} {
		var b bytes.Buffer
		if err := template.Must(template.New(name).Parse(text)).Execute(&b, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(s.path(name), b.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const gatewayYAML = `# The lab's node. Written anew at every start.
node: lab-node
pptp:
  listen: {{.Listen}}
  inside: {{.Node}}
  tun: {{.TUN}}
  routes: [{{.Pool}}]
{{- if .Stateful}}
  mppe: {stateful: prefer}
{{- end}}
  limits: {per_source_rate: 6000} # many clients of a lab share an address
radius:
  servers:
    - {name: lab-service, transport: radsec, address: "{{.RadSec}}"}
  timeout: 1s
  retries: 2
tls:
  ca_file: tls/ca.pem
  cert_file: tls/node.pem
  key_file: tls/node.key
filter:
  portal: ["{{.Portal}}"]
spool: {dir: spool}
log: {level: info, format: text}
`

const radiusdYAML = `# The lab's service. Written anew at every start.
node: lab-service
radius:
{{- if .Radius.IsValid}}
  auth_listen: {{.Radius}}
  acct_listen: {{.RadiusAcct}}
{{- end}}
  radsec:
    listen: {{.RadSec}}
    ca_file: tls/ca.pem
    cert_file: tls/service.pem
    key_file: tls/service.key
clients:
  - name: lab-node
    certificates: [node.postern.lab]
    node: true
{{- if .Radius.IsValid}}
  - name: loopback # other NAS, by RADIUS/UDP
    networks: [127.0.0.0/8]
    secret_file: secrets/radius
    allow_pap: true
{{- end}}
store:
{{- if .Redis}}
  kind: redis
  urls: [{{printf "%q" .Redis}}]
{{- else}}
  kind: embedded
  path: store.db
{{- end}}
key_ring_file: secrets/keys
users_file: users
portal:
  listen: {{.Portal}}
  url: {{.PortalURL}}
  cert_file: tls/portal.pem
  key_file: tls/portal.key
  name: Postern lab
policy_file: policy.yaml
lockout:
  disabled: {{.NoLockout}}
audit: {file: audit.json}
inputs: {dir: inputs} # for postern explain and postern policy replay
log: {level: info, format: text}
`

const policyYAML = `# The lab's policy: the first rule that matches decides.
version: 1

lists:
  refused: [{{.Refused}}]

pools:
  lab: [{{.First}}-{{.Last}}]

rules:
  - id: refused-networks
    description: A network that nobody may dial in from.
    when: {source: refused}
    then: deny
    message: Your network is not allowed here.

  - id: machines
    description: Scanners cannot type a code.
    when: {group: {{.Machines}}}
    then:
      permit: {factor: none, pool: lab, dns: [{{.Host}}], interim: 1m}

  - id: desk
    description: >
      People at a desk may give the code in the portal, and are remembered at their address.
    when: {group: {{.Desk}}}
    then:
      permit:
        factor: code
        carriers: [inline, remembered, quarantine]
        remember: {for: 1h}
        quarantine: 5m
        pool: lab
        dns: [{{.Host}}]
        session_timeout: 8h
        interim: 1m

  - id: people
    description: People need a one-time code.
    when: {group: {{.People}}}
    then:
      permit: {factor: code, pool: lab, dns: [{{.Host}}], session_timeout: 8h, idle_timeout: 1h, interim: 1m}

tests:
  - name: nobody from a refused network
    user: alice
    groups: [{{.People}}]
    source: {{.Refused}}
    expect: {verdict: deny, rule: refused-networks}
  - name: people need a code
    user: alice
    groups: [{{.People}}]
    source: 127.0.0.2
    expect: {verdict: permit, rule: people, factor: code, pool: lab}
  - name: machines need none
    user: scanner
    groups: [{{.Machines}}]
    source: 127.0.0.2
    expect: {verdict: permit, rule: machines, factor: none}
  - name: strangers stay out
    user: mallory
    groups: []
    source: 127.0.0.2
    expect: {verdict: deny, rule: none}
`

// writeEnv writes lab.env for scripts, whole or not at all.
func (s *state) writeEnv(values [][2]string) error {
	var b strings.Builder
	b.WriteString("# How to reach the lab; for a shell's `.` and for scripts.\n")
	for _, v := range values {
		fmt.Fprintf(&b, "POSTERN_%s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	tmp := s.path("lab.env.tmp")
	if err := os.WriteFile(tmp, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.path("lab.env"))
}
