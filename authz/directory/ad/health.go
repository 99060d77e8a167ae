package ad

import "postern/internal/failover"

// ServerStatus is what is known of a domain controller.
type ServerStatus struct {
	Server   string
	LDAP     failover.ServerState
	NETLOGON failover.ServerState
	MSCHAPv2 string // whether it is accepted, in words
}

// Status returns the domain controllers in their order.
func (d *Directory) Status() []ServerStatus {
	var all []ServerStatus
	byName := make(map[string]failover.ServerState)
	for _, s := range d.netlogon.Status() {
		byName[s.Server] = s
	}
	for _, s := range d.ldap.Status() {
		all = append(all, ServerStatus{Server: s.Server, LDAP: s, NETLOGON: byName[s.Server], MSCHAPv2: d.trustOf(s.Server).String()})
	}
	return all
}

func (d *Directory) trustOf(host string) trustState {
	d.mu.Lock()
	c := d.dcs[host]
	d.mu.Unlock()
	if c == nil {
		return untested
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trust.state
}

// Alarms returns what somebody must look at, the oldest first.
func (d *Directory) Alarms() []Alarm { return d.alarms.list() }
