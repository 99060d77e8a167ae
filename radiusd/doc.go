// Package radiusd is the RADIUS server in front of authz: access (RFC 2865, RFC
// 2548, RFC 2868, RFC 2869), accounting (RFC 2866), Status-Server (RFC 5997),
// duplicates (RFC 5080 §2.2.2) and RADIUS over TLS (RFC 6613 §2.6, RFC 6614). It
// maps packets to an authz.Request or an authz.Accounting and the result back to
// a packet, and decides nothing itself.
//
//	UDP socket ─ readers ─┐                       ┌ access ───── Decider
//	                      ├ queue ─ workers ─ serve ┼ accounting ─ Accounter
//	RadSec ─ connections ─┘                   │   └ status
//	in process ───────────────────────────────┘
//
//	serve: who asks? → does it believe the packet? → seen before? → answer
//
// Who cannot prove the shared secret or a certificate learns nothing, not even that
// there is a server: unknown clients, wrong signatures and malformed packets are
// counted and left without an answer. So is a request whose answer is not known,
// because a store or a directory is away: the NAS asks another server then.
//
// Requests must be signed (Message-Authenticator, CVE-2024-3596), unless a client's
// configuration says otherwise; replies always are.
//
// The other way round, Dynamic asks a NAS to end and change sessions (RFC 5176): on
// the RadSec connection that the NAS has opened, by UDP where that is configured, or
// in process.
//
// Left out: EAP (RFC 3579), CHAP-MD5, MS-CHAPv1 with its changes of passwords (RFC
// 2548 §2.1), which are refused; proxying; IPv6 for the tunnel's inside (RFC 3162).
package radiusd
