// Package pptp is a node: a PPTP access concentrator (RFC 2637) that runs the
// whole tunnel in user space and leaves every login to a RADIUS service. It
// keeps no state that outlives it and knows no password.
//
// This package only joins the layers below it, which do not know one another:
//
//	control → a call → ppp (LCP) → chap → RADIUS → ppp (CCP, IPCP) → tun
//	gre → session → mppe → ppp → tun     and back
//
// # Goroutines
//
//	accept        one, hands each TCP connection to
//	control       one for each TCP connection: reads, answers, raises calls
//	receive       one for each GRE socket: batches of packets into sessions
//	transmit      one: batches of packets from the TUN device into sessions
//	shard         one for each shard: timers
//	login         one while a service is asked
//	farewell      one while a session's end is told to the peer
//
// # Locks
//
// A session belongs to one shard, by its call ID, and has no lock of its own.
// shard.mu guards all of a session but its sending half; shard.tx guards that.
// Receiving and sending therefore run on two cores. Each lock is taken for a run
// of packets of one shard, not for each packet. Order: shard.mu, then shard.tx,
// then a control connection's own lock; nothing blocks while shard.mu is held.
package pptp
