#!/bin/sh
# Shares the clients of one address among nodes, on the router in front of them:
#
#   router.sh ADDRESS NODE... [loop]
#
#   router.sh 192.0.2.10 10.0.0.11 10.0.0.12 10.0.0.13
#
# One equal-cost route to ADDRESS, with a next hop for each NODE that answers. The hash
# is over the two IP addresses and nothing else: ports would send a client's TCP 1723 one
# way and its GRE, which has none, another. The group of next hops is a resilient one
# (Linux 5.13): when a node goes, its clients go elsewhere and nobody else's do; when it
# comes back, it is given those who have been silent.
#
# It follows the nodes until it is ended: a node that does not answer twice in a row on
# its health page, http://NODE:9101/healthz (gateway.yaml: metrics.listen on an address
# that the router reaches), is taken out. When none answers the route stays as it was.
#
# Environment: TABLE of buckets (512), EVERY seconds (1), ID of the group (1723; its
# members have the numbers behind it).
set -eu

address=$1
shift
every=${EVERY:-1}
id=${ID:-1723}
buckets=${TABLE:-512}

sysctl -qw net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=0
# A client's packets may come back over another interface than they went.
n=0
for node; do
  n=$((n + 1))
  ip nexthop replace id $((id + n)) via "$node" "dev" "$(ip -o route get "$node" | sed 's/.* dev \([^ ]*\).*/\1/')"
  eval "bad_$n=0"
done

group=
while :; do
  now=
  n=0
  for node; do
    n=$((n + 1))
    if curl -fsS -o /dev/null --max-time 1 "http://$node:9101/healthz" 2>/dev/null; then
      eval "bad_$n=0"
    else
      eval "bad_$n=\$((bad_$n + 1))"
    fi
    if eval "[ \$bad_$n -lt 2 ]"; then now=${now:+$now/}$((id + n)); fi
  done
  if [ -n "$now" ] && [ "$now" != "$group" ]; then
    ip nexthop replace id "$id" group "$now" type resilient buckets "$buckets" idle_timer 120 unbalanced_timer 0
    [ -n "$group" ] || ip route replace "$address/32" nhid "$id"
    group=$now
    echo "router.sh: $address by next hops $group"
  fi
  sleep "$every"
done
