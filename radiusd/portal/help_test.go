package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"

	"golang.org/x/net/html"
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
