//go:build integration

// Package balancing runs what deploy/balancing ships, as it is, between network
// namespaces: keepalived of the distribution, routes of the kernel, a name server, and
// our nodes.
//
//	                 br0, 192.0.2.0/24
//	router 192.0.2.1 ──┬──────────┬──        keepalived, DNS
//	             node1 .11   node2 .12
//
//	clients ── router ──┬── node1, node2, node3        ECMP
package balancing
