// Package swarm makes load: many PPTP clients that dial, hold and hang up over real
// sockets, or many logins as a NAS asks for them by RADIUS. It measures how long each
// step took, and checks what it gets: an Accept that does not prove to know the
// password, whose keys are not the password's, or whose address another live session
// has, is a wrong result. There must be none, at whatever load.
//
//	Roster   who may log in next: nobody twice at once, no one-time code twice
//	PPTP     clients of pptp/client, each in a goroutine of its own
//	Radius   Access-Requests at a rate, with accounting if wanted (RFC 2865, 2866, 2548)
//	Tally    what came of it, as it goes and in the end
//
// Left out: EAP, PAP, and Accounting-On and -Off. These would end every session of a
// NAS that happens to have the same name.
package swarm
