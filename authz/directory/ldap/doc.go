// Package ldap is the back end for OpenLDAP, 389 Directory Server, FreeIPA and
// others that hold people's NT hashes.
//
// An MS-CHAPv2 response is verified here (RFC 2759 §8.4), against the hash that the
// directory lets our account read: sambaNTPassword in hex, of Samba 3, or ipaNTHash
// in binary, of FreeIPA. It is read for each login and kept no longer than it takes.
// A plain password is verified by the directory: by a bind with the name found.
//
// These directories enforce little against somebody who reads hashes, so the states
// that they keep for others are honoured here: Samba's account flags, times and
// hours, shadowExpire (shadow(5)), 389's nsAccountLock, the password policy of
// OpenLDAP (draft-behera-ldap-password-policy) and Kerberos' expirations. A state
// that cannot be read is unknown, and refused.
//
// Groups in groups are followed by asking again: what servers offer for it (AD's
// rule in chain, the memberOf overlay) OpenLDAP answers with silence.
package ldap
