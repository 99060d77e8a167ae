// Package ad is Active Directory as a directory.Directory: people are found over
// LDAP (RFC 4511, [MS-ADTS]), MS-CHAPv2 responses verified over NETLOGON
// ([MS-NRPC]) as a member of the domain with a machine account of its own, plain
// passwords by a simple bind as the person, passwords changed over SAMR
// ([MS-SAMR]). It also makes that machine account, changes its password, and looks
// for what is wrong between us and the domain.
//
// What an account's state is, two say: LDAP when the account is found, and NETLOGON
// when it verifies, which is later and goes first. A state found is told to nobody
// who has not proved the password.
//
// A domain controller that does not accept MS-CHAPv2 answers that the password is
// wrong, and counts it; see trust for how that is told from guessers.
//
// Left out: Kerberos, trusted domains and forests (a name of another domain is
// nobody's), read-only domain controllers.
package ad
