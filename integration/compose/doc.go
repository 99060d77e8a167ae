//go:build integration

// Package compose runs the lab of docker-compose.yml as its reader would, and looks at
// it from outside: docker-compose up, logins, a node and a service killed in mid-use,
// and every query of the dashboard asked of the lab's Prometheus.
//
// Where no Docker engine answers it starts one of its own, from Debian's docker.io with
// a data directory that goes away with it; where no registry answers, base images are
// made by deploy/compose/local-images. It needs root, a TUN device and what apt.sh
// installs. What took how long is printed when it ends.
package compose
