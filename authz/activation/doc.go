// Package activation puts policies in force over all services at once, and keeps what was
// in force before.
//
// A policy travels as a [Bundle], its files and perhaps a signature. Which one is in force
// is one small value in the store, the [State]; whoever changes it says which one he saw,
// so that of two at once one is refused:
//
//	operator   Desk.Activate    state: serial 7 → 8, bundle, history    one sequence
//	service    Follower.Run     told, or looking each half second: serial 8
//	                            → read the bundle, look at it again: content, signature,
//	                              mistakes, tests, pools → put in force → say so in the store
//
// A service believes nobody: what it cannot put in force it leaves, with an alarm, and the
// policy of before goes on to decide there. While the store is away nothing changes.
//
// Signatures are OpenSSH's (PROTOCOL.sshsig, ssh-keygen -Y) and minisign's, over the
// manifest: a line that says what it is, and a line for each file, as sha256sum has it.
//
//	postern policy 1
//	9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  policy.yaml
//	60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752  lists.yaml
//
// The history is for people: nothing is decided on it.
package activation
