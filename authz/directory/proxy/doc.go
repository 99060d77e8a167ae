// Package proxy is the back end of kind radius: another RADIUS server (NPS,
// FreeRADIUS) decides the password, and everything else stays ours. RFC 2865 §4,
// RFC 2548 §2.1-2.4, RFC 2759 §5, §6, §8; over the client of internal/radius, which
// signs what it sends, believes nothing unsigned, and knows fail-over, RadSec and
// that MS-CHAP does not leave the host over plain UDP unless that is allowed.
//
// A request is one of our own, not the node's passed on:
//
//	User-Name, NAS-Identifier, NAS-Port-Type = Virtual
//	MS-CHAPv2:  Service-Type = Framed, Framed-Protocol = PPP,
//	            MS-CHAP-Challenge (16), MS-CHAP2-Response       → MS-CHAP2-Success, MS-MPPE-Send-Key, MS-MPPE-Recv-Key
//	as v1:      the same with MS-CHAP-Challenge (8),
//	            MS-CHAP-Response                                → MS-CHAP-MPPE-Keys
//	PAP:        User-Password
//
// Reject becomes the account's state or a wrong password by MS-CHAP-Error's code. An
// Accept that lacks what the peer needs proves nothing and counts as no answer, and
// so does silence. Access-Challenge is a no: a PPP peer has nowhere to answer it.
//
// A server cannot be asked who exists. Without People everybody does, under the
// lower-case name; with it groups, states and unknown names are People's. Domains
// that select the realm are taken for one set of people: alice of either is one
// alice. Where they are two the domains need a realm each.
//
// # A code behind the name
//
// The peer of alice+123456 hashes the name with the code, and a server that is asked
// about alice makes another hash. But what MS-CHAPv2 does with that hash of eight
// octets is what MS-CHAPv1 does with its challenge (RFC 2759 §8.5, RFC 2433 §A.5):
// a request in the form of MS-CHAPv1, with the hash as its challenge, is verified
// without the name. The answer is the hash of the NT hash in place of keys, and S=
// and the keys are made of it here. This says nothing about what the peer speaks:
// that is MS-CHAPv2, with its mutual authentication. A server that knows our codes
// and looks for alice when it is asked about alice+123456 needs no such thing; see
// AsMSCHAPv1.
//
// # What a server needs
//
//   - Message-Authenticator in every reply. FreeRADIUS signs from 3.2.5 on, before that
//     with `update reply { Message-Authenticator := 0x00 }` in post-auth,
//     Post-Auth-Type REJECT, Post-Auth-Type Challenge, and Autz-Type Status-Server. NPS
//     needs its updates from the autumn of 2024 on (not tried here). Replies without are
//     dropped and counted (postern_radius_client_dropped_replies_total, reason
//     unsigned), and the login finds the directory unavailable.
//   - FreeRADIUS: mschap with use_mppe = yes (its default), or there are no keys; and
//     with_ntdomain_hack = yes if people type CORP\alice: peers leave CORP\ out of the
//     hash. What knows the passwords must find them under the names that are asked. Of
//     a Cleartext-Password with characters beyond U+FFFF it makes a wrong NT hash or
//     none; NT-Password avoids that for MS-CHAP, and breaks PAP.
//   - FreeRADIUS and codes, over UDP: nothing else. MS-CHAP-MPPE-Keys holds the hash of
//     the NT hash.
//   - FreeRADIUS and codes, over RadSec: up to 3.2.10 at least it cannot send
//     MS-CHAP-MPPE-Keys there (see radius.MSCHAPKeys), which is noticed and counts as no
//     answer. Use AsMSCHAPv1Never, and in authorize, before the password is looked for:
//     if (&User-Name =~ /^(.+)\+[0-9]{6,8}(@.+)?$/) {
//     update request { &Stripped-User-Name := "%{1}%{2}" } }
//     Its mschap goes on hashing User-Name. The same does for any server of its kind.
//   - FreeRADIUS says E=691 of disabled accounts and E=647 of locked ones, before it has
//     looked at the password; and in the form of MS-CHAPv1 only numbers, so that a locked
//     account goes as a disabled one.
//   - NPS (not tried here): a network policy for this client with MS-CHAP-v2, and MS-CHAP
//     too where codes are to be verified. RFC 2548 §2.4.1 speaks of the NT hash in
//     MS-CHAP-MPPE-Keys; that is recognised by the response it makes.
//   - A delay of rejects, FreeRADIUS' reject_delay for one, well within the client's
//     time-outs: a late no is taken for silence, and the next server is asked.
//
// Left out: changing passwords, Access-Challenge, EAP, State.
package proxy
