//go:build integration

package clientvm

import "time"

// Data says who carries GRE in a client.
type Data string

const (
	Kernel Data = "kernel" // the kernel's pptp module, by the plugin kpptp.so
	User   Data = "user"   // pptp-linux, over a pty
)

// MPPE is the encryption a client (or the reference server) insists on.
type MPPE string

const (
	MPPE128 MPPE = "128"
	MPPE40  MPPE = "40"
	NoMPPE  MPPE = "none" // refuses all encryption
	AnyMPPE MPPE = "any"  // takes what is offered
)

// Options are pppd's, as words.
func (m MPPE) Options() []string {
	switch m {
	case MPPE128, "":
		return []string{"require-mppe-128"}
	case MPPE40:
		return []string{"require-mppe-40"}
	case NoMPPE:
		return []string{"nomppe"}
	case AnyMPPE:
	}
	return nil
}

// Greeting is the first line a guest writes, when its serial line is a plain stream
// of octets. Before that, what the host sends would come back as an echo.
const Greeting = "ready\n"

// Setup is what the guest is told at boot.
type Setup struct {
	Address string // of vec0, with prefix length
	Gateway string // empty: none
}

// Dial asks for clients. They are numbered from 1, each with its own pppd and its
// own control connection.
type Dial struct {
	Server         string
	User, Password string
	Clients        int // 0 means 1
	Parallel       int // how many dial at once; 0 means all

	// Several clients have an address each, the guest's and those after it, in network
	// namespaces behind a bridge; or all the guest's own, as behind one NAT.
	SameAddress bool

	Data     Data
	MPPE     MPPE
	Stateful bool     // take stateful MPPE, and with Kernel ask for it
	Refuse   []string // authentication the client will not do: pap chap mschap mschap-v2 eap
	MTU, MRU int
	Options  []string      // more words for pppd
	Routes   []string      // prefixes to reach through the tunnel
	Timeout  time.Duration // for each client; 0 means 60 s
}

// Link is how one client's dialling ended.
type Link struct {
	Client    int
	Up        bool // IPv4 is open
	Status    int  // pppd's exit status if it has ended; 19: authentication refused
	Ended     bool
	Seconds   float64 // from start to up or to the end
	Interface string
	Local     string
	Remote    string
	MTU       int
	DNS       []string
	Auth      string   // what the server asked for, as pppd writes it
	MPPE      string   // as pppd writes it: "128-bit stateless"
	Why       []string // lines of pppd's log that sound like trouble
}

// Ping pings from every client that is up, one size after the other.
type Ping struct {
	To    string
	Sizes []int // ICMP payload
	Count int   // per size; 0 means 3
}

// Echoed counts what came back for one size.
type Echoed struct {
	Size     int
	Clients  int // that pinged
	Lossless int // that missed no reply
	Detail   []string
}

// Transfer runs iperf3 from one client.
type Transfer struct {
	Client  int // 0 means 1
	To      string
	Seconds int
	Down    bool // towards the client
}

// Moved is what arrived at the receiving end.
type Moved struct {
	Bytes       int64
	BitsPerSec  float64
	Retransmits int64
}

// Exec runs a shell command where a client dials from.
type Exec struct {
	Client  int // 0 means 1
	Command string
	Timeout time.Duration // 0 means 60 s
}

// Done is how it ended.
type Done struct {
	Status int
	Output string
}

// Await waits until clients have ended by themselves, and tells how.
type Await struct {
	Timeout time.Duration
}

// Serve starts Debian's pptpd in the guest: the peer this package is tried on.
type Serve struct {
	Local          string // address of the server's end of every tunnel
	Pool           string // as pptpd writes it: 10.80.0.10-40
	User, Password string
	MPPE           MPPE
	Stateful       bool
	Options        []string // more words for pppd
}

// None is for verbs that take or give nothing.
type None struct{}
