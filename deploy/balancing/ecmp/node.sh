#!/bin/sh
# Gives a node the address that routers share among nodes (router.sh, or BGP):
#
#   node.sh ADDRESS
#
# It stands on the loopback interface, and nobody asks for it by ARP: routers know the
# way. gateway.yaml: `listen: ADDRESS:1723`, the same on every node.
set -eu

ip addr replace "$1/32" dev lo
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
