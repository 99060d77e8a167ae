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
	poolFull = prometheus.NewDesc("postern_pool_alarm", "1 for a pool of which session.pool_alarm percent are leased.", []string{"pool"}, nil)
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
	ch <- poolFull
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
	for _, name := range p.s.poolAlarms.Ringing() {
		ch <- prometheus.MustNewConstMetric(poolFull, prometheus.GaugeValue, 1, name)
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

// poolEvery is how often the service looks itself how full its pools are, ours.
const poolEvery = 30 * time.Second

// watchPools raises alarms until Stop. While the store is away they stay as they are.
func (s *Service) watchPools() {
	t := time.NewTicker(poolEvery)
	defer t.Stop()
	for {
		_, pools := s.decider.Policy()
		ctx, cancel := context.WithTimeout(s.ctx, scrapeTime)
		usage, err := pools.Usage(ctx, s.store)
		cancel()
		if err == nil {
			s.poolAlarms.Look(time.Now(), usage)
		}
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
