#!/bin/bash
# Installs what the tests need on a Debian 12 machine. Run as root; asks nothing,
# starts no service, and is over in a moment when everything is there already.
set -euo pipefail

packages=(
  redis-server                # the real thing behind internal/store's conformance suite
  freeradius-utils            # radclient: a RADIUS client by other hands
  freeradius                  # an upstream server
  slapd ldap-utils            # OpenLDAP
  samba samba-ad-dc samba-dsdb-modules samba-ad-provision # a domain controller
  tshark                      # reads the captures; brings dumpcap
  iperf3 iproute2 iputils-ping nftables procps curl
  keepalived nsd              # moves an address between nodes; serves their names
  docker.io docker-compose debootstrap prometheus # the lab: its engine, and base images where there is no registry
  chromium fonts-dejavu-core  # looks at the portal as its users do
  gcc libc6-dev               # go test -race, and the guest's pppd plugin
  ca-certificates
)

missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "apt.sh: not installed: ${missing[*]}; run this as root" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)

# invoke-rc.d asks this script before it starts anything: 101 means no. Whatever
# stood there before stands there again afterwards.
rc=/usr/sbin/policy-rc.d
kept=
restore() {
  rm -f "$rc"
  if [ -n "$kept" ]; then mv -f "$kept" "$rc"; fi
}
if [ -e "$rc" ]; then kept=$(mktemp "$rc.XXXXXX"); mv -f "$rc" "$kept"; fi
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$rc"
chmod 755 "$rc"

echo "apt.sh: installing ${missing[*]}"
for try in 1 2 3; do
  # The lists may be absent or name versions that the mirror has dropped: fetch
  # them only when they prove to be of no use.
  if "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null; then exit 0; fi
  [ "$try" = 3 ] || sleep $((try * 3))
  "${apt[@]}" update </dev/null >/dev/null || true
done
echo "apt.sh: could not install ${missing[*]}" >&2
exit 1
