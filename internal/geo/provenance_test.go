package geo

import (
	"path/filepath"
	"testing"
)

func TestString(t *testing.T) {
	dir := t.TempDir()
	country, asn := write(t, filepath.Join(dir, "country"), countries(t)), write(t, filepath.Join(dir, "asn"), systems(t))
	for _, row := range []struct{ country, asn, want string }{
		{"", "", ""}, {country, "", "country of 2023-11-14"}, {country, asn, "country of 2023-11-14, asn of 2023-11-14"},
	} {
		d, err := Open(row.country, row.asn, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.String(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
