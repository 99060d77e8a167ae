package ldap

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"postern/authz/directory"
	"postern/internal/ldapc"
)

// GroupExists implements directory.Grouper: groups are known by what groups of people
// are, their names and their SIDs.
func (d *Directory) GroupExists(ctx context.Context, name string) (bool, error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return false, nil
	}
	groups, err := d.searchGroups(ctx, ldapc.Or(ldapc.Equal(d.cfg.Schema.Group, name), ldapc.Equal("sambaSID", name)))
	if err != nil {
		return false, directory.Unavailable{Doing: fmt.Sprintf("find group %q", name), Err: err}
	}
	return len(groups) > 0, nil
}
