package radiusd

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
)

// A decision is counted under its own reason, whichever it is.
func TestEveryReasonIsCounted(t *testing.T) {
	r := prometheus.NewRegistry()
	m, err := newMetrics(r, &Server{access: new(queue), accounting: new(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range authz.Reasons() {
		m.login(proofNone, authz.Reject, reason)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "postern_radius_server_decisions_total" {
			continue
		}
		for _, x := range f.GetMetric() {
			counted[x.GetLabel()[0].GetValue()] = x.GetCounter().GetValue()
		}
	}
	for _, reason := range authz.Reasons() {
		if counted[reason.String()] != 1 {
			t.Errorf("%v was counted %v times", reason, counted[reason.String()])
		}
	}
}
