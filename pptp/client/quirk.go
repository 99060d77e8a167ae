package client

import "postern/pptp/ppp"

// Quirk makes a session behave as a known client does.
//
// Handled in: quirks, and where habits' fields are read.
type Quirk uint8

const (
	// QuirkNone keeps to the RFCs.
	QuirkNone Quirk = iota

	// QuirkWindows10 is Windows 10 as a pptpd's debug log shows it: CBCP callback in
	// LCP, three Identifications, three Set-Link-Infos, an IPV6CP request, one run of
	// identifiers for all protocols, CCP asking with the H bit alone, IPCP before CCP
	// with two name servers of both kinds, a repeated CCP request after CCP has
	// opened, GRE packets swapped inside the handshake, and a TCP close in the place
	// of a Stop-Control-Connection-Request.
	QuirkWindows10

	// QuirkMacOS is Mac OS X 10.7: IPV6CP, and Apple's 0x8235 once CCP is open.
	QuirkMacOS

	// QuirkRouter is the firmware of ppp-project/ppp issue 558: it asks for CCP with
	// no bit set, whatever the answer. It gets a session only where neither side
	// requires encryption.
	QuirkRouter

	// QuirkKernelPPPD is pppd 2.4.9 over the kernel's PPTP: an LCP Echo-Request as
	// soon as LCP is open, IPCP answered with Terminate-Ack while a required CCP is
	// not, sequence numbers from 1, ACCM in LCP.
	QuirkKernelPPPD
)

// Quirks are all of them, for tests and for a swarm's mix.
func Quirks() []Quirk {
	return []Quirk{QuirkNone, QuirkWindows10, QuirkMacOS, QuirkRouter, QuirkKernelPPPD}
}

// String returns the word that flags use.
func (q Quirk) String() string { return q.habits().name }

func (q Quirk) habits() *habits {
	if int(q) < len(quirks) {
		return &quirks[q]
	}
	return &habits{name: "unknown"}
}

// habits are what clients differ in.
type habits struct {
	name         string
	host, vendor string // in SCCRQ
	minBPS       uint32 // in OCRQ; 0: package control's
	maxBPS       uint32
	noStop       bool // TCP is closed without StopCCRQ
	linkInfo     bool // Set-Link-Info: at the start, after the login, at the end

	firstSeq uint32 // of GRE
	swap     bool   // some GRE packets of the handshake leave behind their successors

	accm       bool // asked for in LCP
	callback   bool // CBCP asked for in LCP
	identify   bool // three LCP Identifications
	echo       bool // LCP Echo-Request at once
	runningIDs bool

	ccp       ppp.Quirk
	repeatCCP bool
	ipv6cp    bool
	acscp     bool
	ipcpFirst bool // IPCP does not wait for CCP
	nbns      bool
	refuse    bool // IPCP gets Terminate-Acks until a required CCP is open
}

var quirks = [...]habits{
	QuirkNone: {name: "none", host: "postern", vendor: "postern"},
	QuirkWindows10: {
		name: "windows10", vendor: "Microsoft Windows NT", minBPS: 300, maxBPS: 100_000_000, noStop: true, linkInfo: true,
		swap: true, callback: true, identify: true, runningIDs: true,
		ccp: ppp.QuirkHOnly, repeatCCP: true, ipv6cp: true, ipcpFirst: true, nbns: true,
	},
	QuirkMacOS:      {name: "macos", vendor: "Apple", accm: true, ipv6cp: true, acscp: true},
	QuirkRouter:     {name: "router", accm: true, ccp: ppp.QuirkNoBits},
	QuirkKernelPPPD: {name: "pppd", host: "local", vendor: "cananian", firstSeq: 1, accm: true, echo: true, refuse: true},
}
