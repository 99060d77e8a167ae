package authz

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A step that a login never came to has no time, not one of nothing.
func TestStepsAreTimed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	m, err := newMetrics(r)
	if err != nil {
		t.Fatal(err)
	}
	m.took(&Record{Duration: 3 * time.Second, Load: time.Second})
	m.took(&Record{Duration: time.Second, Load: time.Second, Directory: time.Second / 2, Commit: time.Second / 4})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*dto.Histogram{}
	for _, f := range families {
		if f.GetName() != "postern_authz_step_seconds" {
			continue
		}
		for _, one := range f.GetMetric() {
			got[one.GetLabel()[0].GetValue()] = one.GetHistogram()
		}
	}
	for step, want := range map[string]struct {
		n   uint64
		sum float64
	}{"load": {2, 2}, "directory": {1, .5}, "commit": {1, .25}, "all": {2, 4}} {
		if h := got[step]; h == nil || h.GetSampleCount() != want.n || h.GetSampleSum() != want.sum {
			t.Errorf("%s: %v; want %+v", step, h, want)
		}
	}
}
