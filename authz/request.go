// Package authz decides logins: who, with what proof, may do what (DESIGN: one
// ordered list of checks, cheapest and safest refusal first). It knows neither
// RADIUS packets nor tunnels: radiusd maps packets to a Request and a Result
// back to packets.
package authz

import (
	"net/netip"
	"time"

	"postern/authz/directory"
	"postern/policy"
)

// Method is how the peer proves its password. The zero value proves nothing
// and is refused.
type Method uint8

const (
	MethodUnknown  Method = iota
	MethodPAP             // RFC 2865 User-Password
	MethodMSCHAPv2        // RFC 2759
	// MethodMSCHAPv2Change is a new password in the place of an expired one (RFC 2759
	// §7), and the response of MethodMSCHAPv2 made with it.
	MethodMSCHAPv2Change
	MethodPortal // a form of ours, see Decider.SignIn; no NAS has it
)

var methodNames = [...]string{
	MethodUnknown: "unknown", MethodPAP: "pap", MethodMSCHAPv2: "mschapv2", MethodMSCHAPv2Change: "mschapv2_change",
	MethodPortal: "portal",
}

// MSCHAPv2 says whether the method proves a password by a response, and so gives
// keys.
func (m Method) MSCHAPv2() bool { return m == MethodMSCHAPv2 || m == MethodMSCHAPv2Change }

// String returns the method as audit lines spell it.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return methodNames[MethodUnknown]
}

// NAS names the server that asks for its client.
type NAS struct {
	ID     string     // NAS-Identifier
	Addr   netip.Addr // NAS-IP-Address, else the packet's source
	Port   uint32     // NAS-Port
	Type   string     // NAS-Port-Type by name, "Virtual" for PPTP
	Client string     // whose packet it was, by our configuration: no claim
}

// Node is the NAS' name in the registry of sessions.
func (n *NAS) Node() string {
	if n.ID != "" {
		return n.ID
	}
	return n.Addr.String()
}

// MSCHAPv2 carries RFC 2759's exchange as RFC 2548 §2.3.2 transports it.
type MSCHAPv2 struct {
	Ident         byte     // CHAP identifier, echoed in Success and Error
	Challenge     [16]byte // authenticator challenge
	PeerChallenge [16]byte
	Response      [24]byte // NT-Response
}

// Request is one login as authz sees it. All fields come from outside and are
// claims, but for Source.Listener facts that radiusd verified.
type Request struct {
	Now       time.Time
	NAS       NAS
	User      string     // User-Name as typed, with domain and inline code
	Source    netip.Addr // the client's own address (Calling-Station-Id / Tunnel-Client-Endpoint)
	SessionID string     // Acct-Session-Id, unique per NAS
	Tunnel    string     // Tunnel-Type by name: "PPTP", "" for none

	Method   Method
	AllowPAP bool              // the listener and its client may use PAP
	Password []byte            // MethodPAP; wiped by the caller
	MSCHAPv2 MSCHAPv2          // MethodMSCHAPv2, MethodMSCHAPv2Change
	Change   *directory.Change // MethodMSCHAPv2Change; wiped by the caller

	ClientName    string // MS-RAS-Client-Name: a claim
	ClientVersion string // MS-RAS-Client-Version: a claim

	// What our configuration says of the RADIUS client that asks.
	Node           bool // one of our nodes: it enforces filters, quarantine and bandwidth
	CodeInPassword bool // MethodPAP: a password may have a code behind it

	State []byte // of an Access-Challenge that this request answers; nil: none
}

// Verdict is what becomes of a login. The zero value refuses.
type Verdict uint8

const (
	Reject    Verdict = iota // answer Access-Reject
	Accept                   // answer Access-Accept with Grant
	Silent                   // answer nothing, so that the NAS asks another service
	Challenge                // answer Access-Challenge with State; Message is the prompt
)

var verdictNames = [...]string{Reject: "reject", Accept: "accept", Silent: "silent", Challenge: "challenge"}

// String returns the verdict as audit lines spell it.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return verdictNames[Reject]
}

// Grant is what an accepted login may do; zero values mean "not set".
type Grant struct {
	Addr            netip.Addr // Framed-IP-Address
	Mask            int        // Framed-IP-Netmask as prefix length
	DNS, NBNS       []netip.Addr
	Routes          []netip.Prefix // Framed-Route
	Filter          string         // Filter-Id
	Rules           []string       // NAS-Filter-Rule, of that filter; none: the NAS has its own
	Bandwidth       policy.Bandwidth
	Quarantine      Quarantine
	SessionTimeout  time.Duration
	IdleTimeout     time.Duration
	InterimInterval time.Duration
	MTU             int    // Framed-MTU
	Class           []byte // decision ID for accounting
}

// Quarantine holds a session back from everything but DNS and the portal until the
// second factor is given there. The zero value is none.
type Quarantine struct {
	For time.Duration `json:"for"` // until the NAS ends the session
	URL string        `json:"url"` // the portal's page for this session: it proves which one is meant
}

// Result is the outcome of Decide.
type Result struct {
	Verdict    Verdict
	Reason     Reason
	DecisionID string
	User       string // canonical name; sessions and counters use it
	Grant      Grant  // Verdict == Accept

	// MS-CHAPv2 accept: the authenticator response ("S=…", 42 octets) and the
	// 16-octet MPPE start keys from the service's point of view (RFC 3079 §3.3).
	Success          string
	SendKey, RecvKey [16]byte

	// MS-CHAPv2 reject: RFC 2759 §6 code (646…691, 709), retry flag and text.
	ErrorCode int
	Retry     bool
	Message   string
	// Change lets the peer answer by a new password, in this dialogue and once.
	Change bool

	State []byte // Verdict == Challenge: what the answer must bring along
	// Delay is how long the answer is held back, so that a refusal without a question
	// to the directory takes as long as one with.
	Delay time.Duration
}
