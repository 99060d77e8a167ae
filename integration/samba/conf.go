package samba

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const krb5Conf = `[libdefaults]
 default_realm = %s
 dns_lookup_kdc = false
 dns_lookup_realm = false
 rdns = false
[realms]
 %s = {
  kdc = %s
 }
`

// smbConf: one process, RPC, LDAP and Kerberos and nothing else. Every directory is
// named, or Samba writes below /run/samba and /var.
const smbConf = `[global]
	netbios name = DC1
	realm = LAB.EXAMPLE
	workgroup = LAB
	server role = active directory domain controller
	server services = rpc ldap kdc
	interfaces = ADDR/8
	bind interfaces only = yes
	private dir = DIR/private
	state directory = DIR/state
	cache directory = DIR/cache
	lock directory = DIR/lock
	pid directory = DIR/run
	binddns dir = DIR/bind-dns
	ncalrpc dir = DIR/ncalrpc
	ntp signd socket directory = DIR/ntp_signd
	winbindd socket directory = DIR/winbindd
	log file = DIR/log/log.%m
	logging = file
	log level = 1
	ldb:nosync = yes
	load printers = no
	disable spoolss = yes
	printcap name = /dev/null
	ldap server require strong auth = allow_sasl_over_tls
	tls enabled = yes
	tls cafile = DIR/tls/ca.pem
	tls certfile = DIR/tls/cert.pem
	tls keyfile = DIR/tls/key.pem
NTLM
[sysvol]
	path = DIR/state/sysvol
	read only = No
[netlogon]
	path = DIR/state/sysvol/lab.example/scripts
	read only = No
`

// configure writes smb.conf of a tree, which may have been moved.
func configure(dir string, addr netip.Addr, ntlm string) error {
	for _, d := range []string{"run", "ncalrpc", "winbindd", "log", "cache", "etc", "bind-dns", "lock"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	switch ntlm {
	case "":
		ntlm = "\tntlm auth = mschapv2-and-ntlmv2-only\n"
	case "default":
		ntlm = ""
	default:
		ntlm = fmt.Sprintf("\tntlm auth = %s\n", ntlm)
	}
	text := strings.NewReplacer("DIR", dir, "ADDR", addr.String(), "NTLM\n", ntlm).Replace(smbConf)
	return os.WriteFile(filepath.Join(dir, "etc", "smb.conf"), []byte(text), 0o600)
}
