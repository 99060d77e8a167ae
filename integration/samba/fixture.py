# Puts the people of the tests into a fresh domain, in one transaction.
#   fixture.py SMB.CONF MACHINE MACHINE-PASSWORD SERVICE SERVICE-PASSWORD
import sys, time, ldb
from samba import dsdb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

lp = LoadParm()
lp.load(sys.argv[1])
machine, machine_password, service, service_password = sys.argv[2:6]
db = SamDB(session_info=system_session(), lp=lp)
base = str(db.domain_dn())
ou = "OU=VPN," + base
NORMAL, DISABLED, NEVER, SMARTCARD = 0x200, 0x2, 0x10000, 0x40000
MINUTE = -60 * 10000000  # an interval, in the directory's units
DAY = 24 * 60
AS_IT_IS = ["local_oid:%s:1" % dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID]


def quoted(password):
    return ('"%s"' % password).encode("utf-16-le")


def modify(dn, op, controls=None, **attributes):
    m = ldb.Message(ldb.Dn(db, dn))
    for name, value in attributes.items():
        m[name] = ldb.MessageElement(value if isinstance(value, list) else str(value), op, name)
    db.modify(m, controls or [])


def user(cn, password, flags=NORMAL, name=None, **attributes):
    name = name or cn
    record = {"dn": "CN=%s,%s" % (cn, ou), "objectClass": "user", "sAMAccountName": name,
              "userPrincipalName": name + "@lab.example", "unicodePwd": quoted(password),
              "userAccountControl": str(flags)}
    record.update(attributes)
    db.add(record)
    return record["dn"]


def group(name, *members):
    dn = "CN=%s,%s" % (name, ou)
    db.add({"dn": dn, "objectClass": "group", "sAMAccountName": name})
    if members:
        modify(dn, ldb.FLAG_MOD_ADD, member=list(members))
    return dn


db.transaction_start()
modify(base, ldb.FLAG_MOD_REPLACE, pwdProperties=0, minPwdLength=6, pwdHistoryLength=0, minPwdAge=0,
       maxPwdAge=42 * DAY * MINUTE, lockoutThreshold=5, lockoutDuration=10 * MINUTE,
       lockOutObservationWindow=10 * MINUTE)
db.add({"dn": ou, "objectClass": "organizationalUnit"})

alice = user("alice", "Alice-Pass1")
bob = user("bob", "Bob-Pass1")
carol = user("carol", "Carol-Pass1")
frank = user("frank", "Frank-Pass1")  # to be locked out by a test
dave = user("dave", "Dave-Pass1", NORMAL | DISABLED)
erin = user("erin", "Erin-Pass1", accountExpires="132000000000000000")  # 2019
grace = user("grace", "Grace-Pass1", pwdLastSet="0")  # must change
zoe = user("zoe", "Zoe-Pass1", pwdLastSet="0")  # must change, and may dial in
heidi = user("heidi", "Heidi-Pass1", userWorkstations="OTHERPC")
ivan = user("ivan", "Ivan-Pass1", logonHours=b"\0" * 21)
judy = user("judy", "Judy-Pass1")  # password of 2016
modify(judy, ldb.FLAG_MOD_REPLACE, AS_IT_IS, pwdLastSet="131000000000000000")
kate = user("kate", "Kate-Pass1")  # Protected Users: no NTLM
leo = user("leo", "Leo-Pass1", NORMAL | SMARTCARD)
user("mike", "Mike-Pass1", NORMAL | NEVER)
juergen = user("J\u00fcrgen M\u00fcller", "P\u00e4ssw\u00f6rd-\u20ac-\U0001F600", name="j\u00fcrgen")
nora = user("nora", "Nora-Pass1", msNPAllowDialin="FALSE")
oscar = user("oscar", "Oscar-Pass1", msNPAllowDialin="TRUE")
locked = user("locked", "Locked-Pass1")
user("probe", "Probe-Pass1", NORMAL | NEVER)
user(service, service_password, NORMAL | NEVER)
db.add({"dn": "CN=%s,CN=Computers,%s" % (machine.rstrip("$"), base), "objectClass": "computer",
        "sAMAccountName": machine, "userAccountControl": "4096", "unicodePwd": quoted(machine_password),
        "dNSHostName": "rgw.lab.example", "servicePrincipalName": ["HOST/rgw.lab.example", "HOST/RGW"]})

leaf = group("vpn-leaf", alice, juergen)
mid = group("vpn-mid", leaf)
group("vpn-users", mid, bob, frank, zoe, judy)
admins = group("vpn-admins", carol)
group("vpn-mixed", kate, dave, erin, bob, leo)  # for who looks for members that cannot log on
modify("CN=Protected Users,CN=Users," + base, ldb.FLAG_MOD_ADD, member=[kate])
db.add({"dn": "CN=pso-admins,CN=Password Settings Container,CN=System," + base,
        "objectClass": "msDS-PasswordSettings", "msDS-PasswordSettingsPrecedence": "10",
        "msDS-PasswordReversibleEncryptionEnabled": "FALSE", "msDS-PasswordHistoryLength": "0",
        "msDS-PasswordComplexityEnabled": "FALSE", "msDS-MinimumPasswordLength": "6",
        "msDS-MinimumPasswordAge": "0", "msDS-MaximumPasswordAge": str(7 * DAY * MINUTE),
        "msDS-LockoutThreshold": "3", "msDS-LockoutObservationWindow": str(10 * MINUTE),
        "msDS-LockoutDuration": str(10 * MINUTE), "msDS-PSOAppliesTo": admins})

# Locked in ten years' time is locked however old the tree is.
now = int((time.time() + 11644473600) * 10000000)
modify(locked, ldb.FLAG_MOD_REPLACE, AS_IT_IS + ["relax:0"],
       lockoutTime=str(now + 3650 * DAY * -MINUTE), badPwdCount="5")
db.transaction_commit()
