// Package control speaks PPTP's control connection (RFC 2637 §2 and §3): the
// fifteen messages and the state machine of one TCP connection, in the role of
// the server (PAC in the RFC's words: it answers) or of the client (PNS: it
// calls). It does no I/O, starts no goroutine and reads no clock: octets and
// the time go in; octets to send, events and the next deadline come out.
//
// Every message begins with the same twelve octets (RFC 2637 §2):
//
//	 0               2               4                               8
//	+---------------+---------------+-------------------------------+
//	| Length        | Message Type  | Magic Cookie 0x1A2B3C4D       |
//	+---------------+---------------+-------------------------------+
//	| Control Type  | Reserved0     | body, fixed size per type ...
//	+---------------+---------------+
//
// Left out, on purpose: incoming calls (§2.9–2.11 are parsed and refused;
// nobody dials in through us), management messages (the RFC never defined
// any), and the collision of two TCP connections (§3.1.3): our server never
// originates one. The rule that a pair of addresses shares one control
// connection (§3.1) is not enforced, because one NAT address hides many
// clients.
//
// Admission is the guard in front of all connections of a node: source
// networks, connection rate, half-open connections.
package control
