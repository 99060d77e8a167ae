// Package samba starts Samba Active Directory domain controllers for tests: a
// domain LAB / lab.example with a person for every state an account can be in (see
// fixture.py), on loopback addresses of their own. It needs root, because the ports
// of a domain controller are below 1024, and what integration/apt.sh installs.
//
// Provisioning a domain takes half a minute, so it is done once and kept under the
// user's cache directory (or POSTERN_TEST_CACHE); each controller runs on a copy next
// to it, is up within a second, and dies with the test binary. Two controllers of one test are copies of one domain that do
// not replicate: what is changed in one stays there.
//
// Traps it avoids: Samba's own certificate has no subjectAltName, which Go refuses;
// smb.conf must name every directory or Samba writes below /run and /var; setting
// sysvol's ACLs fails on many file systems and nothing here needs them.
package samba
