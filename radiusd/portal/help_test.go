package portal

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/net/html"

	"postern/authz"
	"postern/internal/store"
)

func newGet(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

func urlValues(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// input is a field of the page that is shown.
func input(b *browser, name string) *html.Node {
	for n := range b.doc.Descendants() {
		if n.Data == "input" && attr(n, "id") == name {
			return n
		}
	}
	return nil
}

// counter is the value of a metric with these labels.
func counter(t testing.TB, s *site, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			fits := true
			for i := 0; i+1 < len(labels); i += 2 {
				fits = fits && slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool {
					return l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				})
			}
			if fits {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("no metric %s %v", name, labels)
	return -1
}

// put writes into the store behind the portal's back.
func put(t testing.TB, s *site, k store.Key, value string) {
	t.Helper()
	if err := s.store.Do(t.Context(), store.Seq{&store.Put{Key: k, Value: value}}); err != nil {
		t.Fatal(err)
	}
}

func (s saying) SignIn(_ context.Context, in authz.SignIn) authz.SignInResult {
	return authz.SignInResult{User: in.Name, Reason: s.reason}
}

func (s saying) StepUp(context.Context, authz.StepUp) authz.StepUpResult {
	return authz.StepUpResult{Reason: s.reason}
}
