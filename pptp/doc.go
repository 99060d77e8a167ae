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
//	login         one while a service is asked, and the packet filter told
//	farewell      one while a session leaves the packet filter and its peer is told
//	captive       one, and one for each HTTP connection of a client in quarantine
//
// A change that a service asks for (RFC 5176) is made in the goroutine that asks.
//
// # Locks
//
// A session belongs to one shard, by its call ID, and has no lock of its own.
// shard.mu guards all of a session but its sending half; shard.tx guards that.
// Receiving and sending therefore run on two cores. Each lock is taken for a run
// of packets of one shard, not for each packet. Order: session.changing, which orders
// the changes of services, then shard.mu, then shard.tx, then a control connection's own
// lock or fence.mu; nothing blocks while shard.mu is held.
//
// # What a session may do
//
// The packet filter waits for the kernel, so it is told without a shard: before a session
// is accepted, before a change is noted in it, and after it has left the data path. A
// session's post in the fence therefore stands from before its first IP packet until
// after its last; that addresses are leased again meanwhile, the posts settle.
package pptp
