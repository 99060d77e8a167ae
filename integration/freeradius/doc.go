// Package freeradius starts FreeRADIUS 3 for a test: a server of its own, with its
// configuration in a temporary directory and its ports on the loopback address,
// that ends with the test. It is the upstream server of a realm of kind radius
// by other hands than ours.
//
// The fixture is in users.go; the password of NAME is "Name-Pass1".
//
// Before 3.2.5 FreeRADIUS signs no reply to a request without EAP, and the client of
// internal/radius believes no such reply. The configuration makes it sign:
// `update reply { Message-Authenticator := 0x00 }` in post-auth, in Post-Auth-Type
// REJECT and in Post-Auth-Type Challenge, and for Status-Server in Autz-Type
// Status-Server. Newer ones sign by themselves, and the lines do no harm.
package freeradius
