package ad

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// securityGroup is the bit of groupType without which a group is for mail alone: it is in
// nobody's tokenGroups ([MS-ADTS] §2.2.12).
const securityGroup = "(groupType:1.2.840.113556.1.4.803:=2147483648)"

// GroupExists implements directory.Grouper: groups are known by name, those of our domain,
// and by SID. SIDs of other domains may be in a login's token, but nothing is known of
// them here.
func (d *Directory) GroupExists(ctx context.Context, name string) (exists bool, err error) {
	if name == "" || len(name) > maxName {
		return false, nil
	}
	filter := "(sAMAccountName=" + ldap.EscapeFilter(name) + ")"
	id, notSID := sidOf(name)
	if notSID == nil {
		filter = anySID([]sid{id})
	}
	err = d.withLDAP(ctx, func(ctx context.Context, c *dc) error {
		entries, err := c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeWholeSubtree, Filter: "(&(objectCategory=group)" + securityGroup + filter + ")",
			Attributes: []string{"objectSid"}, PageSize: pageSize,
		})
		if exists = len(entries) > 0; err != nil || exists || !id.isDomain() {
			return err
		}
		if entries, err = c.ldap.Search(ctx, &ldapc.Search{
			Base: d.base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"objectSid"},
		}); err != nil || len(entries) == 0 {
			return err
		}
		own, err := parseSID(entries[0].GetEqualFoldRawAttributeValue("objectSid"))
		if err == nil && own != id.domain() {
			err = directory.ErrGroupsUntold
		}
		return err
	})
	if err != nil && !errors.Is(err, directory.ErrGroupsUntold) {
		err = directory.Unavailable{Doing: fmt.Sprintf("find group %q", name), Err: err}
	}
	return exists, err
}
