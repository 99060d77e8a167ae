// Package faults breaks things while people log in: it runs whole services as processes
// on one store, NAS with the nodes' RADIUS client and accounting spool in front of them,
// and kills and freezes any of these at random. Package history judges what came of it.
// TestNodes has whole nodes, in network namespaces, and clients with tunnels.
//
// Everything here is a test with the tag integration; `make test` runs them for about a
// minute, `make soak` as long as one wants.
package faults
