package authz

import (
	"context"
	"log/slog"
	"sync"

	"postern/authz/directory"
	"postern/authz/mfa"
)

// seeds hands over what the directory keeps for the user's codes, once the account is
// found and the tokens are loaded under its name.
func (d *Decider) seeds(l *login) {
	d.mistakes.tell(l.user, d.cfg.MFA.With(l.tokens, l.account.Seeds.Values()))
}

// Seeds is how many seeds the directory keeps for a user, by canonical name, whether
// they can be used or not. Nobody's are none.
func (d *Decider) Seeds(ctx context.Context, user string) (int, error) {
	a, err := d.cfg.Directory.Find(ctx, AskedName(mfa.SplitCode(user, d.cfg.Separator)))
	if r, no := directory.IsRejected(err); no && r.Reason == directory.NoSuchUser {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return a.Seeds.Len(), nil
}

// maxMistakes bounds the accounts whose mistakes are remembered; with more, some are
// told again.
const maxMistakes = 4096

// mistakes tells of seeds that cannot be used when they are come upon, and not at each
// login.
type mistakes struct {
	log *slog.Logger // nil: nobody is told

	mu   sync.Mutex
	told map[string]string // by user
}

// tell tells of a user's mistakes; err is nil when there are none, or not any more.
func (m *mistakes) tell(user string, err error) {
	if m.log == nil || !m.news(user, err) {
		return
	}
	m.log.Warn("seeds in the directory cannot be used", "user", user, "error", err)
}

func (m *mistakes) news(user string, err error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.told, user)
		return false
	}
	text := err.Error()
	if m.told[user] == text {
		return false
	}
	if len(m.told) >= maxMistakes || m.told == nil {
		m.told = make(map[string]string)
	}
	m.told[user] = text
	return true
}
