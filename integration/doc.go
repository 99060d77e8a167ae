//go:build integration

// Package integration drives Postern from outside, as its users' machines do: the
// Linux kernel's own PPTP client in a guest, radclient, iperf3, and tshark over
// what went past. It knows the binary's flags and the lab's file of addresses,
// and nothing of the code behind them.
//
// Everything runs in network namespaces of its own and ends with the test.
// It needs root, a TUN device and what apt.sh installs; `make integration`.
package integration
