// Package ldapc asks LDAP servers (RFC 4511) with time limits. It puts what go-ldap
// leaves to its users around it:
//
//	TLS       LDAPS or StartTLS (RFC 4511 §4.14), at least 1.2, the server's name and
//	          its CA always checked; without TLS only a server on this host
//	bind      simple or GSSAPI (RFC 4513 §5), with a password that is fetched when it
//	          is needed; one that was refused is not tried again at once, because
//	          directories count
//	pool      a bounded number of connections to each server, used by one request at
//	          a time, tried with a look at the root DSE after a rest
//	deadline  a context that ends closes the connection, whatever it was waiting for
//	limits    entries and octets of an answer, pages (RFC 2696)
//	servers   several that are equal, asked in turn (package failover)
//
// A person's password is tried on a connection of its own (Client.Bind) and never
// sent twice. Referrals are not followed: they name servers that nobody configured.
//
// An error is either the server's answer (Is, SubCode) or no answer (Unavailable).
package ldapc
