// Package filter is what the kernel enforces for a node: who may dial in, what a
// session's filter lets through, quarantine, address translation. It is one nftables
// table, made through netlink.
package filter
