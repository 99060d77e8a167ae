package geo

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// build makes a database.
func build(t testing.TB, records map[string]mmdbtype.Map) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test", IncludeReservedNetworks: true, BuildEpoch: 1_700_000_000})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range records {
		_, n, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, record); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func countries(t testing.TB) []byte {
	in := func(code string) mmdbtype.Map {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
	}
	return build(t, map[string]mmdbtype.Map{
		"81.2.69.0/24": in("GB"), "2001:db8::/32": in("de"), "198.51.100.0/24": {"country_code": mmdbtype.String("FR")},
		"192.0.2.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.Uint32(7)}}, "192.0.3.0/24": in("Germany"),
	})
}

func systems(t testing.TB) []byte {
	return build(t, map[string]mmdbtype.Map{
		"81.2.69.0/24": {"autonomous_system_number": mmdbtype.Uint32(64500)}, "198.51.100.0/24": {"autonomous_system_number": mmdbtype.String("x")},
	})
}

func write(t testing.TB, name string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(write(t, filepath.Join(dir, "country"), countries(t)), write(t, filepath.Join(dir, "asn"), systems(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]struct {
		country string
		asn     uint32
	}{
		"81.2.69.160":        {"GB", 64500},
		"::ffff:81.2.69.160": {"GB", 64500},
		"2001:db8::1":        {"DE", 0},
		"198.51.100.9":       {"FR", 0}, // the one a text, the other not a number
		"192.0.2.1":          {"", 0},   // a number is no country
		"192.0.3.1":          {"", 0},
		"10.0.0.1":           {"", 0},
		"fe80::1%eth0":       {"", 0},
		"8.8.8.8":            {"", 0},
	} {
		if country, asn := d.Lookup(netip.MustParseAddr(addr)); country != want.country || asn != want.asn {
			t.Errorf("%s: %q, %d", addr, country, asn)
		}
	}
	if country, asn := d.Lookup(netip.Addr{}); country != "" || asn != 0 {
		t.Errorf("no address: %q, %d", country, asn)
	}
	if n := testutil.CollectAndCount(d); n != 2 {
		t.Errorf("%d metrics", n)
	}
}

// Without files nothing is known; a file that is named must be there and be whole.
func TestOpen(t *testing.T) {
	d, err := Open("", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if country, asn := d.Lookup(netip.MustParseAddr("81.2.69.160")); country != "" || asn != 0 {
		t.Errorf("%q, %d", country, asn)
	}
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none"), "", nil); err == nil {
		t.Error("a file that is not there")
	}
	whole := countries(t)
	for _, n := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		if _, err := Open("", write(t, filepath.Join(dir, "cut"), whole[:n]), nil); err == nil {
			t.Errorf("%d of %d octets", n, len(whole))
		}
	}
}

// A file that is replaced counts; half of one does not, nor does one that is gone.
func TestReplaced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "country")
	d, err := Open(write(t, name, countries(t)), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddr("81.2.69.160")
	later := time.Now()
	replace := func(text []byte, want string) {
		t.Helper()
		later = later.Add(time.Second)
		if text == nil {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Chtimes(write(t, name, text), later, later); err != nil {
			t.Fatal(err)
		}
		d.look()
		if country, _ := d.Lookup(at); country != want {
			t.Errorf("%q, want %q", country, want)
		}
	}
	other := build(t, map[string]mmdbtype.Map{"81.2.69.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.String("IE")}}})
	replace(other, "IE")
	replace(other[:len(other)/2], "IE")
	replace(countries(t), "GB")
	replace(nil, "GB")
}

// FuzzDatabase: any file is a database or is not, and what it is asked never ends us.
func FuzzDatabase(f *testing.F) {
	whole := countries(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(systems(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		r, err := parse(text)
		if err != nil {
			return
		}
		var d Databases
		d.country.now.Store(r)
		d.asn.now.Store(r)
		for _, a := range []string{"81.2.69.160", "2001:db8::1", "0.0.0.0", "255.255.255.255"} {
			d.Lookup(netip.MustParseAddr(a))
		}
	})
}
