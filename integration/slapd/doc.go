// Package slapd starts OpenLDAP for tests: a directory dc=corp,dc=example with people
// in every state the schema can express and groups within groups, on a loopback port
// of its own, with certificates of its own. It needs no root, and what
// integration/apt.sh installs.
//
// Traps it avoids: slapadd does not fill the memberof overlay, so groups list members
// and nothing else; a server with `security simple_bind=128` refuses passwords in
// clear with result 13; 127.0.0.1 needs an IP address in the certificate.
package slapd
