package service

import (
	"reflect"
	"strings"

	"postern/internal/config"
)

// needRestart names the keys that differ and that a reload cannot make count.
func needRestart(old, now *config.Service) string {
	var keys []string
	for _, k := range []struct {
		name   string
		before any
		after  any
	}{
		{"node", old.Node, now.Node},
		{"radius.auth_listen", old.Radius.Auth, now.Radius.Auth},
		{"radius.acct_listen", old.Radius.Acct, now.Radius.Acct},
		{"radius.radsec.listen", old.Radius.RadSec.Listen, now.Radius.RadSec.Listen},
		{"radius.workers", old.Radius.Workers, now.Radius.Workers},
		{"radius.queue", old.Radius.Queue, now.Radius.Queue},
		{"store", old.Store, now.Store},
		{"key_ring_file", old.KeyRing, now.KeyRing},
		{"key_ring_env", old.KeyRingEnv, now.KeyRingEnv},
		{"users_file", old.Users, now.Users},
		{"chap_secrets_file", old.ChapSecrets, now.ChapSecrets},
		{"realms", old.Realms, now.Realms},
		{"policy.from", old.PolicySource.From, now.PolicySource.From},
		{"policy.watch", old.PolicySource.Watch, now.PolicySource.Watch},
		{"inputs", old.Inputs, now.Inputs},
		{"geo", old.Geo, now.Geo},
		{"posture.fresh", old.Posture.Fresh, now.Posture.Fresh},
		{"posture.tokens", old.Posture.Tokens, now.Posture.Tokens},
		{"posture.ad", old.Posture.AD, now.Posture.AD},
		{"disclose", old.Disclose, now.Disclose},
		{"chap_secrets_server", old.ChapSecretsServer, now.ChapSecretsServer},
		{"mfa", old.MFA, now.MFA},
		{"lockout", old.Lockout, now.Lockout},
		{"session", old.Session, now.Session},
		{"follow", old.Follow, now.Follow},
		{"accounting", old.Accounting, now.Accounting},
		{"portal.listen", old.Portal.Listen, now.Portal.Listen},
		{"portal.url", old.Portal.URL, now.Portal.URL},
		{"audit", old.Audit, now.Audit},
		{"metrics", old.Metrics, now.Metrics},
		{"log.format", old.Log.Format, now.Log.Format},
	} {
		if !reflect.DeepEqual(k.before, k.after) {
			keys = append(keys, k.name)
		}
	}
	return strings.Join(keys, ", ")
}
