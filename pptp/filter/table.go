package filter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors of leases.
var (
	ErrClosed = errors.New("filter: table is closed")
	ErrStale  = errors.New("filter: the lease is over")
)

// Lease is a client's place in the table. The zero Lease is over.
type Lease struct {
	addr       netip.Addr
	generation uint64
}

// Table is what a node has the kernel enforce. It is safe for concurrent use.
//
// A call that fails leaves the table as it was, and the Table usable.
type Table struct {
	log    *slog.Logger
	metric *metrics
	reader *reader
	events *netlink.Conn
	routes *locals

	queueing sync.Mutex // guards queue
	queue    []*request

	mu     sync.Mutex // guards what follows: it is held while the kernel is asked
	kernel *kernel
	table  *nftables.Table
	closed bool
	// The picture of the kernel that transactions, Verify and a new table are made of.
	cfg      Config
	clients  map[netip.Addr]*entry
	contents map[string]*content
	allowed  *intervals // sources of tunnels
	sets     map[string]*intervals
	counters map[string]struct{}     // in the kernel, by name
	routed   map[netip.Prefix]*entry // clients by the networks behind them
	networks [33]int                 // how many of each length
	lengths  lengths                 // of which there are sets
	last     uint64                  // generation of leases

	wake chan struct{} // asks for Verify
	stop chan struct{}
	done sync.WaitGroup // watch and patrol; Close waits
}

// Open puts the table into the kernel, in the place of one that a node left which was
// killed. The table belongs to the network namespace of the calling thread. Its
// metrics go to reg, which may be nil.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Table, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &Table{
		log: log.With("layer", "filter", "table", cfg.Table), metric: newMetrics(), cfg: cfg,
		table:   &nftables.Table{Name: cfg.Table, Family: nftables.TableFamilyIPv4},
		clients: map[netip.Addr]*entry{}, contents: map[string]*content{}, sets: map[string]*intervals{}, counters: map[string]struct{}{},
		routed: map[netip.Prefix]*entry{},
		wake:   make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if t.kernel, err = openKernel(); err != nil {
		return nil, err
	}
	t.reader = &reader{kernel: t.kernel, table: cfg.Table}
	if err := t.start(reg); err != nil {
		return nil, errors.Join(err, t.hangUp())
	}
	return t, nil
}

func (t *Table) start(reg prometheus.Registerer) (err error) {
	if t.routes, err = openLocals(); err != nil {
		return err
	}
	if t.events, err = t.kernel.listen(); err != nil {
		return err
	}
	if err := t.first(); err != nil {
		return err
	}
	if reg != nil {
		if err := reg.Register(t); err != nil {
			return errors.Join(err, t.remove())
		}
	}
	t.done.Add(2) // watch, patrol
	go t.watch()
	go t.patrol()
	return nil
}

// hangUp closes what is open.
func (t *Table) hangUp() error {
	var errs []error
	if t.events != nil {
		errs = append(errs, t.events.Close())
	}
	t.routes.close()
	return errors.Join(append(errs, t.reader.close(), t.kernel.close())...)
}

// first installs the table for the first time. If the kernel will not have it, that is
// mostly a feature it lacks.
func (t *Table) first() error {
	for _, name := range []string{countSource, countGRE, countNoLease, countClients, countNode, countDNS, acceptedOpen, acceptedHeld, deniedHeld} {
		t.counters[name] = struct{}{}
	}
	t.metric.name(None, None)
	t.metric.name(Quarantine, Quarantine)
	t.allowed = newIntervals(setAllowed, t.cfg.Allowed)
	for name, prefixes := range t.cfg.Sets {
		t.sets[name] = newIntervals(prefixSet+name, prefixes)
	}
	for name, rules := range t.cfg.Filters {
		t.configure(t.begin(), name, rules) // for the picture; install makes the transaction
	}
	x := t.begin()
	t.install(x)
	err := t.kernel.commit(x)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("filter: install table %s: %w", t.cfg.Table, err), t.missing())
}

func (t *Table) begin() *txn { return &txn{table: t.table} }

// install adds all there is to a new table.
func (t *Table) install(x *txn) {
	t.installRules(x)
	t.installClients(x)
}

func (t *Table) installRules(x *txn) {
	x.replaceTable()
	for name := range t.counters {
		x.addCounter(name, t.metric.seen(name))
	}
	for _, s := range t.allSets() {
		x.addSet(s)
	}
	x.addChains(t.allChains())
}

func (t *Table) installClients(x *txn) {
	var all []located
	for _, e := range t.clients {
		all = append(all, e.elements()...)
	}
	x.addLocated(all)
}

// allSets are the sets that there are, with what the configuration puts into them.
func (t *Table) allSets() []set {
	all := append(t.cfg.sets(), t.allowed.set())
	for bits, there := range t.lengths {
		if there {
			all = append(all, routedSets[bits].sets()...)
		}
	}
	for _, i := range t.sets {
		all = append(all, i.set())
	}
	return all
}

// allChains are the chains that there are.
func (t *Table) allChains() []chain {
	all := t.cfg.chains(t.allowed.name(), &t.lengths)
	for _, c := range t.contents {
		all = append(all, t.chainsOf(c)...)
	}
	return all
}

// setName is what a set of the configuration is called in the kernel.
func (t *Table) setName(set string) string {
	if i := t.sets[set]; i != nil {
		return i.name()
	}
	return prefixSet + set // for rules that the configuration's check has let by: none
}

// counterFor is what counters of a filter are called; they are made with the first
// filter of that name and stay, so that what they count never goes back.
func (t *Table) counterFor(x *txn, filter string) string {
	id := safe(filter)
	if !t.metric.name(filter, id) {
		filter, id = otherFilters, otherFilters
		t.metric.name(filter, id)
	}
	for _, name := range []string{prefixAccepted + id, prefixDenied + id} {
		if _, ok := t.counters[name]; ok {
			continue
		}
		t.counters[name] = struct{}{}
		x.undo = append(x.undo, func() { delete(t.counters, name) })
		x.addCounter(name, t.metric.seen(name))
	}
	return id
}

// Set makes a client known, in the place of another one that has its address. Before
// that all its packets are dropped.
func (t *Table) Set(c Client) (Lease, error) {
	e, err := t.entry(c)
	if err != nil {
		return Lease{}, err
	}
	err = t.submit(func(x *txn) error {
		if len(t.clients) >= maxClients && t.clients[c.Addr] == nil {
			return fmt.Errorf("filter: more than %d clients", maxClients)
		}
		t.last++
		e.lease = t.last
		return t.put(x, e)
	})
	if err != nil {
		return Lease{}, err
	}
	return Lease{c.Addr, e.lease}, nil
}

// Change gives a client another filter, puts it into quarantine or lets it out. What it
// may not do any more it cannot do when Change returns, also in flows that are there.
func (t *Table) Change(l Lease, c Client) error {
	e, err := t.entry(c)
	if err != nil {
		return err
	}
	return t.submit(func(x *txn) error {
		old := t.clients[l.addr]
		switch {
		case old == nil || old.lease != l.generation:
			return ErrStale
		case l.addr != c.Addr:
			return fmt.Errorf("filter: the lease is for %v, not %v", l.addr, c.Addr)
		}
		e.lease = l.generation
		return t.put(x, e)
	})
}

// Remove forgets a client. A lease that is over, because another client has got the
// address, takes nothing away.
func (t *Table) Remove(l Lease) error {
	return t.submit(func(x *txn) error {
		if e := t.clients[l.addr]; e != nil && e.lease == l.generation {
			t.replace(x, l.addr, nil)
			t.prune(x)
		}
		return nil
	})
}

// entry is a client that is yet to get its filter.
func (t *Table) entry(c Client) (*entry, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Rules, c.DNS, c.Routes = slices.Clone(c.Rules), slices.Clone(c.DNS), slices.Clone(c.Routes)
	e := &entry{client: c}
	for _, d := range c.DNS {
		if slices.Contains(e.dns, d) {
			continue
		}
		if !c.Quarantine { // its filter decides, but for servers that are this host
			local, err := t.routes.local(d)
			if err != nil {
				return nil, fmt.Errorf("filter: route to DNS server %v: %w", d, err)
			}
			if !local {
				continue
			}
		}
		e.dns = append(e.dns, d)
	}
	return e, nil
}

func (t *Table) put(x *txn, e *entry) (err error) {
	e.routes = nil // of a transaction that the kernel did not make
	if err := t.claim(x, e); err != nil {
		return err
	}
	if e.content, err = t.acquire(x, &e.client); err != nil {
		return err
	}
	t.replace(x, e.client.Addr, e)
	t.prune(x)
	return nil
}

// replace puts a client into another one's place; nil is none.
func (t *Table) replace(x *txn, addr netip.Addr, e *entry) {
	if old := t.swap(x, addr, e); old != nil {
		t.release(x, old.content)
	}
}

// swap is the same for what a client has besides its filter. Sets for its networks are
// there before they are filled; prune takes them away.
func (t *Table) swap(x *txn, addr netip.Addr, e *entry) (old *entry) {
	old = t.clients[addr]
	t.reroute(x, old, e)
	t.widen(x)
	x.change(old, e)
	x.undo = append(x.undo, func() {
		if old == nil {
			delete(t.clients, addr)
		} else {
			t.clients[addr] = old
		}
	})
	if e == nil {
		delete(t.clients, addr)
	} else {
		t.clients[addr] = e
	}
	return old
}

// Close takes the table out of the kernel. Clients are not enforced upon any more, so
// that the tunnels should be gone before.
func (t *Table) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrClosed
	}
	t.closed = true
	err := t.remove()
	t.mu.Unlock()
	close(t.stop)
	err = errors.Join(err, t.hangUp()) // which ends watch
	t.done.Wait()
	return err
}

// remove is done until the kernel says yes: what is left behind is enforced upon
// whoever comes after us.
func (t *Table) remove() (err error) {
	for range 3 {
		x := t.begin()
		x.deleteTable()
		if err = t.kernel.commit(x); err == nil {
			return nil
		}
		time.Sleep(removePause)
	}
	return fmt.Errorf("filter: remove table %s: %w", t.cfg.Table, err)
}

const removePause = 50 * time.Millisecond
