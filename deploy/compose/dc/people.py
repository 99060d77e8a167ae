# Puts the lab's people into a fresh domain, in one transaction.
#   people.py SMB.CONF DIRECTORY-OF-PASSWORDS
import sys, ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

lp = LoadParm()
lp.load(sys.argv[1])
db = SamDB(session_info=system_session(), lp=lp)
base = str(db.domain_dn())
ou = "OU=VPN," + base
NORMAL, NEVER = 0x200, 0x10000
MINUTE = -60 * 10000000  # an interval, in the directory's units


def user(name):
    with open("%s/%s.password" % (sys.argv[2], name)) as f:
        password = f.readline().rstrip("\n")
    dn = "CN=%s,%s" % (name, ou)
    db.add({"dn": dn, "objectClass": "user", "sAMAccountName": name, "userPrincipalName": name + "@lab.example",
            "unicodePwd": ('"%s"' % password).encode("utf-16-le"), "userAccountControl": str(NORMAL | NEVER)})
    return dn


def group(name, *members):
    dn = "CN=%s,%s" % (name, ou)
    db.add({"dn": dn, "objectClass": "group", "sAMAccountName": name, "member": list(members)})


db.transaction_start()
policy = ldb.Message(ldb.Dn(db, base))
for name, value in (("lockoutThreshold", 5), ("lockoutDuration", 10 * MINUTE), ("lockOutObservationWindow", 10 * MINUTE)):
    policy[name] = ldb.MessageElement(str(value), ldb.FLAG_MOD_REPLACE, name)
db.modify(policy)
db.add({"dn": ou, "objectClass": "organizationalUnit"})
group("vpn-users", user("alice"), user("bob"))
group("vpn-machines", user("scanner"))
user("probe")
db.transaction_commit()
