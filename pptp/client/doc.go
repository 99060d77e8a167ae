// Package client dials PPTP servers: the PNS of RFC 2637 and the calling end of the
// PPP link in it, joined from the same machines as the node's sessions. The lab, the
// swarm and the tests use it; it is no VPN client for people.
//
//	Host     one local address: a GRE socket, one reader, calls by their ID
//	 └ line     one TCP control connection (RFC 2637 §2), one reader
//	    └ Session  one call: GRE window (§4), LCP, MS-CHAPv2, CCP with MPPE, IPCP
//
// A dial is complete when IPCP is open and, unless the configuration says otherwise,
// both directions are encrypted. A server that does not prove to know the password
// (RFC 2759 §5) gets no session, and one that demands no authentication neither.
//
// Left out: PAP, CHAP-MD5 and MS-CHAPv1; the change of a password; inner IPv6;
// incoming calls. Quirk makes a session behave as known clients do.
//
// Cost: a session has no goroutine, only a timer; a control connection has one
// goroutine, a Host one. Sending and receiving an inner packet allocates nothing.
package client
