//go:build integration

// Package clientvm boots the PPTP client that most of the world's Linux machines
// are: the kernel's ppp_generic, ppp_mppe, pptp and gre modules under Debian's
// pppd, in a user-mode Linux guest. The machine that runs the tests needs no PPP
// in its own kernel, no KVM and no module.
//
//	host                                         guest
//	bridge ── tap ───────────── vec0 ── (bridge) ── pppd + kpptp.so or pptp-linux
//	test ──── pipe (JSON-RPC) ── ttyS0 ─────────── guest (first process)
//
// The image is made once, from Debian's packages, in a cache directory (see
// CacheDir). Its first process is the program under guest/, which carries out what
// the test asks for: Dial, Ping, Transfer, and so on. A guest lives in a pid
// namespace of its own and dies with the test.
//
// Left out: several CPUs (user-mode Linux has one), IPv6, and several calls on one
// control connection.
package clientvm
