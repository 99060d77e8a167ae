# samba-tool without the step that sets sysvol's ACLs, which many file systems refuse
# and nothing here needs, and with a password that no process list shows.
import sys, samba.provision as P
P.setsysvolacl = lambda *a, **k: None
from samba.netcmd.main import cmd_sambatool
try:
    password = open("/etc/lab/administrator.password").read().strip()
    rc = cmd_sambatool()._run("samba-tool", *sys.argv[1:], "--adminpass=" + password)
except SystemExit as e:
    rc = e.code
sys.exit(rc or 0)
