// Package lab is `postern lab`: a node and a service in one process, with users, a
// policy, certificates and a one-time-code token made on first use, a network with
// a host behind the node, and a tour that dials in and shows what happens.
//
// It drives the same builders, configuration files and packets as the real
// binaries; nothing in it is simulated but the client's keyboard.
package lab
