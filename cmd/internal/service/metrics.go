package service

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/failover"
)

// scrapeTime bounds how long a scrape waits for the store, ours.
const scrapeTime = 2 * time.Second

var (
	poolUsed = prometheus.NewDesc("postern_pool_addresses_used", "Addresses of the pool that are leased.", []string{"pool"}, nil)
	poolSize = prometheus.NewDesc("postern_pool_addresses", "Addresses of the pool.", []string{"pool"}, nil)
	accounts = prometheus.NewDesc("postern_directory_accounts", "Accounts in the users file and chap-secrets.", nil, nil)
	serverUp = prometheus.NewDesc("postern_directory_server_up", "1 for a domain controller that answers, as far as is known.", []string{"realm", "server", "protocol"}, nil)
	alarm    = prometheus.NewDesc("postern_directory_alarm", "1 for something about a directory that somebody must look at; the log says what.", []string{"realm", "server", "alarm"}, nil)
)

// poolUsage asks the store when Prometheus asks us. While the store is away there is
// nothing to see, and no old number either.
type poolUsage struct{ s *Service }

// Describe implements prometheus.Collector.
func (p *poolUsage) Describe(ch chan<- *prometheus.Desc) {
	ch <- poolUsed
	ch <- poolSize
	ch <- accounts
	ch <- serverUp
	ch <- alarm
}

// Collect implements prometheus.Collector.
func (p *poolUsage) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(accounts, prometheus.GaugeValue, float64(p.s.directory.Len()))
	for realm, d := range p.s.directory.domains {
		for _, s := range d.Status() {
			ch <- prometheus.MustNewConstMetric(serverUp, prometheus.GaugeValue, oneIf(s.LDAP.State != failover.PassedOver), realm, s.Server, "ldap")
			ch <- prometheus.MustNewConstMetric(serverUp, prometheus.GaugeValue, oneIf(s.NETLOGON.State != failover.PassedOver), realm, s.Server, "netlogon")
		}
		for _, a := range d.Alarms() {
			ch <- prometheus.MustNewConstMetric(alarm, prometheus.GaugeValue, 1, realm, a.Server, a.Kind.String())
		}
	}
	ctx, cancel := context.WithTimeout(p.s.ctx, scrapeTime)
	defer cancel()
	_, pools := p.s.decider.Policy()
	usage, err := pools.Usage(ctx, p.s.store)
	if err != nil {
		p.s.log.Debug("pools not counted", "error", err)
		return
	}
	for _, u := range usage {
		ch <- prometheus.MustNewConstMetric(poolUsed, prometheus.GaugeValue, float64(u.Used), u.Name)
		ch <- prometheus.MustNewConstMetric(poolSize, prometheus.GaugeValue, float64(u.Size), u.Name)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
