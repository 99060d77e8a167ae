// Package redistest starts real Redis servers on loopback for the tests of any
// package: one alone ([Start]), three primaries with replicas ([StartCluster]), and a
// primary with replicas and three Sentinels ([StartSentinel]). They end with the test.
// Servers are killed, frozen, cut off and started again; nothing here simulates.
//
// Time-outs are tight, so that a fail-over takes seconds: see downAfter. Ports lie
// below those the kernel gives to connections, which would take them in between.
//
// Without redis-server on the machine a test is skipped.
package redistest
