// Package radius is RADIUS as Postern speaks it, over the packets and
// dictionaries of layeh.com/radius: signing and checking (RFC 2865 §3, RFC 2866
// §3, RFC 2869 §5.14, RFC 3579 §3.2, RFC 5176 §2.3, RFC 5997 §3), Microsoft's
// attributes (RFC 2548, MS-RNAP), WISPr's, filter rules (RFC 4849), a client with
// fail-over (RFC 5080 §2.2.1, RFC 5997 §4), RADIUS over TLS (RFC 6613 §2.6, RFC 6614),
// and the NAS's side of dynamic authorization (RFC 5176), over UDP and, in reverse,
// over TLS.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|     Code      |  Identifier   |            Length             |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|                   Authenticator (16 octets)                   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|   Type = 80   |  Length = 18  |  Message-Authenticator (16)   |
//	+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//	|  further attributes ...
//
// What we send carries Message-Authenticator as its first attribute, and the
// client believes no reply without one: a reply that is guarded by MD5 alone can
// be forged by whoever sits on the path (CVE-2024-3596).
//
// Of layeh.com/radius only packets, the RFC dictionaries and the vendors' _Add
// and _Lookup are used. Its PacketServer loses requests, its Client does not check
// Message-Authenticator, the vendors' _Set panics when called twice and their _Del
// never returns on a malformed Vendor-Specific.
//
// Left out: RADIUS/1.1 (RFC 9765), DTLS (RFC 7360), extended attributes (RFC 6929).
package radius
