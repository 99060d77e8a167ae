package filter

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/mdlayher/netlink"
)

// tally is what a counter has counted.
type tally struct{ packets, octets uint64 }

// metrics are a table's numbers. Counters of packets are the kernel's and are read
// when Prometheus asks, all in one dump.
type metrics struct {
	clients atomic.Int64
	repairs atomic.Uint64
	updates atomic.Uint64
	looks   atomic.Uint64 // of Verify
	broken  atomic.Bool
	update  prometheus.Histogram

	mu    sync.Mutex
	last  map[string]tally  // by counter; a table that is made anew goes on from there
	names map[string]string // filters by what they are called in counters' names
}

// Ours: each filter is four lines of metrics. Those beyond count together.
const (
	maxNames     = 512
	otherFilters = "other"
)

func newMetrics() *metrics {
	return &metrics{
		last: map[string]tally{}, names: map[string]string{},
		update: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_filter_update_seconds", Help: "Time of a transaction with the kernel; it may hold several logins.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5},
		}),
	}
}

// name notes a filter's name. False: there are too many.
func (m *metrics) name(filter, id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[id]; !ok && len(m.names) >= maxNames && id != otherFilters {
		return false
	}
	m.names[id] = filter
	return true
}

// seen is what a counter had counted when it was last read.
func (m *metrics) seen(counter string) tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last[counter]
}

// counters reads the table's counters.
func (r *reader) counters(each func(name string, v tally)) error {
	return r.ask(unix.NFT_MSG_GETOBJ, netlink.Dump, nil, func(a attributes) {
		if a.get(unix.NFTA_OBJ_TABLE).text() != r.table || a.get(unix.NFTA_OBJ_TYPE).number() != unix.NFT_OBJECT_COUNTER {
			return
		}
		data := a.get(unix.NFTA_OBJ_DATA)
		each(a.get(unix.NFTA_OBJ_NAME).text(), tally{
			packets: data.get(unix.NFTA_COUNTER_PACKETS).number(), octets: data.get(unix.NFTA_COUNTER_BYTES).number(),
		})
	})
}

var (
	descPackets = prometheus.NewDesc("postern_filter_packets_total",
		"Packets that a filter judged, by filter (none: clients without one; quarantine) and verdict: accepted, denied.", []string{"filter", "verdict"}, nil)
	descOctets = prometheus.NewDesc("postern_filter_octets_total",
		"Octets of packets that a filter judged, by filter and verdict.", []string{"filter", "verdict"}, nil)
	descDropped = prometheus.NewDesc("postern_filter_dropped_packets_total",
		"Packets dropped before a filter, by cause: source refused, gre limited, no lease, client to client, to node, dns limited.", []string{"cause"}, nil)
	descClients = prometheus.NewDesc("postern_filter_clients", "Clients that the kernel knows.", nil, nil)
	descUpdates = prometheus.NewDesc("postern_filter_set_updates_total", "Updates of the kernel's sets of clients; an ordinary login makes two.", nil, nil)
	descRepairs = prometheus.NewDesc("postern_filter_repairs_total", "Times that somebody changed the node's table and it was put in place anew.", nil, nil)
	descLooks   = prometheus.NewDesc("postern_filter_verifications_total", "Times that the kernel's table was compared with what the node put there.", nil, nil)
	descBroken  = prometheus.NewDesc("postern_filter_broken", "1 while the kernel's table is not known to be what the node put there.", nil, nil)
)

// dropCauses are the counters that belong to no filter, by the label they get.
var dropCauses = map[string]string{
	countSource: "source refused", countGRE: "gre limited", countNoLease: "no lease",
	countClients: "client to client", countNode: "to node", countDNS: "dns limited",
}

// Describe implements prometheus.Collector. It needs no open table.
func (t *Table) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPackets, descOctets, descDropped, descClients, descUpdates, descRepairs, descLooks, descBroken} {
		ch <- d
	}
	newMetrics().update.Describe(ch)
}

// Collect implements prometheus.Collector.
func (t *Table) Collect(ch chan<- prometheus.Metric) {
	m := t.metric
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(descClients, float64(m.clients.Load()))
	broken := 0.0
	if m.broken.Load() {
		broken = 1
	}
	gauge(descBroken, broken)
	counter(descUpdates, m.updates.Load())
	counter(descRepairs, m.repairs.Load())
	counter(descLooks, m.looks.Load())
	m.update.Collect(ch)

	now := map[string]tally{}
	if err := t.reader.counters(func(name string, v tally) { now[name] = v }); err != nil {
		t.log.Debug("counters cannot be read", "error", err) // the last values stand
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, v := range now {
		// A table that somebody has just deleted, or made anew with nothing in it, is no
		// reason to count backwards.
		if was := m.last[name]; v.packets >= was.packets {
			m.last[name] = v
		}
	}
	for name, cause := range dropCauses {
		counter(descDropped, m.last[name].packets, cause)
	}
	for id, filter := range m.names {
		for verdict, prefix := range map[string]string{"accepted": prefixAccepted, "denied": prefixDenied} {
			v := m.last[prefix+id]
			counter(descPackets, v.packets, filter, verdict)
			counter(descOctets, v.octets, filter, verdict)
		}
	}
}
