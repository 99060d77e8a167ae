package ad

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// sAMAccountType of what people log on with ([MS-SAMR] §2.2.1.9). Computers and
// trusts have others, whatever their object class.
const normalUser = "805306368"

// Attributes that a person is made of. None is secret: an ordinary account may read
// them all. Those that AD computes for each question cost it most of its time.
var (
	storedAttributes = []string{
		"sAMAccountName", "userPrincipalName", "objectSid", "userAccountControl", "accountExpires", "pwdLastSet",
		"logonHours", "userWorkstations", "msNPAllowDialin", "uSNChanged", "primaryGroupID",
	}
	personAttributes = append([]string{
		"msDS-User-Account-Control-Computed", "msDS-UserPasswordExpiryTimeComputed", "msDS-ResultantPSO",
	}, storedAttributes...)
)

// person is an account as AD has it.
type person struct {
	dn, name  string // sAMAccountName as it is written
	principal string // userPrincipalName; "" is usual
	sid       sid
	primary   uint32 // RID of the primary group
	usn       int64

	flags       uac
	computed    uac // with flags
	expires     fileTime
	passwordSet fileTime // 0: must change
	passwordEnd fileTime
	hours       weekHours
	stations    string // comma-separated; "": all
	noDialin    bool   // msNPAllowDialin FALSE; absent leaves it to policies
	policy      string // DN of the resultant PSO; "": the domain's
}

// readPerson reads a search's entry.
func readPerson(e *ldap.Entry) (*person, error) {
	text := func(name string) string { return e.GetEqualFoldAttributeValue(name) }
	p := &person{dn: e.DN, name: text("sAMAccountName"), principal: text("userPrincipalName")}
	if p.name == "" {
		return nil, fmt.Errorf("entry %s: no sAMAccountName", e.DN)
	}
	var err error
	if p.sid, err = parseSID(e.GetEqualFoldRawAttributeValue("objectSid")); err != nil {
		return nil, fmt.Errorf("entry %s: objectSid: %w", e.DN, err)
	}
	if text("userAccountControl") == "" {
		// Whoever may not read it must not take everybody for active.
		return nil, fmt.Errorf("entry %s: userAccountControl: %w", e.DN, errHidden)
	}
	p.flags = readUAC(text("userAccountControl"))
	p.computed = p.flags | readUAC(text("msDS-User-Account-Control-Computed"))
	p.expires = readFileTime(text("accountExpires"))
	p.passwordSet = readFileTime(text("pwdLastSet"))
	p.passwordEnd = readFileTime(text("msDS-UserPasswordExpiryTimeComputed"))
	p.hours = readHours(e.GetEqualFoldRawAttributeValue("logonHours"))
	p.stations = text("userWorkstations")
	p.noDialin = text("msNPAllowDialin") == "FALSE"
	p.policy = text("msDS-ResultantPSO")
	p.usn, _ = strconv.ParseInt(text("uSNChanged"), 10, 64)
	primary, _ := strconv.ParseUint(text("primaryGroupID"), 10, 32)
	p.primary = uint32(primary)
	return p, nil
}

var errHidden = errors.New("absent: may the account that we bind as read it?")

// canonical is the name that sessions and counters use.
func (p *person) canonical() string { return canonical(p.name) }

func canonical(name string) string { return strings.ToLower(name) }
