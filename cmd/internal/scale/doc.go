// Package scale measures what logins and sessions cost, and how many there can be: 1, 2
// and 4 services as processes on one Redis and on a Redis Cluster of three primaries,
// under the load of `postern swarm radius`.
//
//	logins    as many as are answered: rate, waits, CPU, commands and octets of a login
//	sessions  held and reported by Interims: CPU, commands and memory of a session
//
// Everything here is a test: `make scale` runs all and prints a table, `make test` one
// short case. Services, Redis and load share the machine: costs carry over to another
// one, rates do not.
package scale
