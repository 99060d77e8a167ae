package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz/directory"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/internal/config"
	"postern/internal/mschap"
	"postern/internal/simnet"
	"postern/pptp/client"
)

// people is a directory of users whose passwords have all expired; a new one must
// have eight letters.
type people struct {
	mu       sync.Mutex
	password map[string]string
	expired  map[string]bool
	asked    int // to change one
}

func newPeople(n int) *people {
	p := &people{password: map[string]string{}, expired: map[string]bool{}}
	for i := range n {
		name := fmt.Sprint("user", i)
		p.password[name], p.expired[name] = "old-"+name, true
	}
	return p
}

func (p *people) Canonical(n directory.Name) string { return strings.ToLower(n.User) }

func (p *people) Find(_ context.Context, n directory.Name) (*directory.Account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.Canonical(n)
	if p.password[name] == "" {
		return nil, directory.Rejected{Reason: directory.NoSuchUser}
	}
	return &directory.Account{Name: name, Groups: []string{"vpn-users"}, State: directory.Active}, nil
}

func (p *people) VerifyMSCHAPv2(_ context.Context, _ directory.Name, a *directory.Account, r *directory.MSCHAPv2) (directory.Proof, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a == nil {
		return directory.Proof{}, directory.Rejected{Reason: directory.NoSuchUser}
	}
	hash := mschap.NTHash(p.password[a.Name])
	switch {
	case mschap.NTResponse(r.ChallengeHash, &hash) != r.Response:
		return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword}
	case p.expired[a.Name]:
		return directory.Proof{}, directory.Rejected{Reason: directory.AccountState, State: directory.PasswordExpired}
	}
	return directory.Proof{HashHash: mschap.HashHash(&hash)}, nil
}

func (p *people) VerifyPassword(context.Context, directory.Name, *directory.Account, []byte) (directory.Proof, error) {
	return directory.Proof{}, directory.Rejected{Reason: directory.WrongPassword}
}

func (p *people) ChangePassword(_ context.Context, _ directory.Name, a *directory.Account, c *directory.Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	old := mschap.NTHash(p.password[a.Name])
	fresh, err := mschap.DecryptPassword(&c.Encrypted, &old)
	hash := mschap.NTHash(fresh)
	switch {
	case err != nil || mschap.EncryptHash(&old, &hash) != c.OldHash:
		return directory.Rejected{Reason: directory.WrongPassword}
	case len(fresh) < 8:
		return directory.Rejected{Reason: directory.BadPassword}
	}
	p.password[a.Name], p.expired[a.Name] = fresh, false
	return nil
}

// TestPasswordChangeOverBadNetwork: on a network that loses a fifth each way, a change
// ends in a session of the new password or in a word why not; the directory is asked
// once for each user, and who has no session has one password or the other.
func TestPasswordChangeOverBadNetwork(t *testing.T) {
	const users = 100
	site := cmdtest.NewSite(t)
	synctest.Test(t, func(t *testing.T) {
		crowd := newPeople(users)
		var names []string
		for name := range crowd.password {
			names = append(names, name)
		}
		d := newService(t, crowd, names...)
		cfg := load(t, site)
		cfg.TLS = config.Identity{}
		w := newNetwork(t)
		go w.echo() // ends with the network
		n := start(t, cfg, node.Options{Deps: w.deps, Local: d.handler})
		w.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{
			Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2,
		})
		var up, weak, other atomic.Int64
		var wg sync.WaitGroup
		for i := range users {
			name := fmt.Sprint("user", i)
			c := w.configAt(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), "", "old-"+name)
			if c.NewPassword = "fresh-" + name; i%10 == 9 {
				c.NewPassword = "weak"
			}
			c.Timeout = 2 * time.Minute
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				c.User = name + "+" + d.code(t, name, 0)
				s, err := client.Dial(t.Context(), c)
				switch {
				case err == nil:
					if !s.PasswordChanged() {
						t.Errorf("%s: a session without a change", name)
					}
					up.Add(1)
					_ = s.Close()
				case refusedWith(err, 709):
					weak.Add(1)
				default:
					t.Logf("%s: %v", name, err)
					other.Add(1)
				}
			})
		}
		wg.Wait()
		t.Logf("%d sessions, %d weak passwords, %d ended before", up.Load(), weak.Load(), other.Load())
		if up.Load() < 85 || weak.Load() < 9 {
			t.Errorf("%d sessions, %d weak passwords, %d ended before", up.Load(), weak.Load(), other.Load())
		}
		crowd.mu.Lock()
		changed := 0
		for name, expired := range crowd.expired {
			if want := map[bool]string{true: "old-" + name, false: "fresh-" + name}[expired]; crowd.password[name] != want {
				t.Errorf("%s has the password %q", name, crowd.password[name])
			}
			if !expired {
				changed++
			}
		}
		if crowd.asked > users || changed < int(up.Load()) || changed+int(weak.Load()) > crowd.asked {
			t.Errorf("asked for %d changes, made %d, %d sessions, %d weak passwords", crowd.asked, changed, up.Load(), weak.Load())
		}
		crowd.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if n.Sessions() != 0 {
			t.Errorf("%d sessions are left", n.Sessions())
		}
	})
}
