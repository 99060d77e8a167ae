// Package geo says where an address is: which country, which autonomous system, as
// databases in MaxMind's format have it (https://maxmind.github.io/MaxMind-DB/). Such
// databases are bought or downloaded, replaced in place every week, and have holes: what
// they do not know is not known.
package geo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// lookEvery is how often is looked whether a file has been replaced.
	lookEvery = 10 * time.Second
	// maxSize bounds a database, ours: it is held in memory. The largest sold have a
	// tenth of that.
	maxSize = 1 << 30
)

// Databases are those of a service. They are safe for concurrent use.
type Databases struct {
	country, asn database
	log          *slog.Logger
}

// database is one file. Without a name there is none.
type database struct {
	kind string // "country" or "asn"
	name string
	now  atomic.Pointer[maxminddb.Reader]
	seen stamp // Run's, after Open
	away bool
}

// stamp tells a file from the one that was there before.
type stamp struct {
	size int64
	at   time.Time
}

// Open reads the databases. A name may be empty: what would be in there is not known.
func Open(country, asn string, log *slog.Logger) (*Databases, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Databases{country: database{kind: "country", name: country}, asn: database{kind: "asn", name: asn}, log: log.With("layer", "geo")}
	var errs []error
	for _, b := range d.all() {
		_, err := b.look()
		errs = append(errs, err)
	}
	return d, errors.Join(errs...)
}

func (d *Databases) all() []*database {
	var list []*database
	for _, b := range []*database{&d.country, &d.asn} {
		if b.name != "" {
			list = append(list, b)
		}
	}
	return list
}

// look reads the file if it is another one than before. One that cannot be read leaves
// the one of before.
func (b *database) look() (fresh bool, err error) {
	info, err := os.Stat(b.name)
	if err != nil {
		return false, fmt.Errorf("%s database: %w", b.kind, err)
	}
	s := stamp{info.Size(), info.ModTime()}
	if s == b.seen {
		return false, nil
	}
	r, err := read(b.name)
	if err != nil {
		return false, fmt.Errorf("%s database: %w", b.kind, err)
	}
	b.now.Store(r)
	b.seen = s
	return true, nil
}

// read reads a database into memory: a file that is mapped and then cut short would end
// the process.
func read(name string) (*maxminddb.Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxSize:
		return nil, fmt.Errorf("%s has more than %d octets", name, maxSize)
	}
	r, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// parse takes a database whose metadata can be read. They stand at its end: half a download
// has none, and must not replace a good one.
func parse(text []byte) (r *maxminddb.Reader, err error) {
	defer func() {
		// The reader is somebody else's; a file must not be able to end us.
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("not a database: %v", p)
		}
	}()
	return maxminddb.OpenBytes(text)
}

// Run looks for replaced files until ctx ends.
func (d *Databases) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			d.look()
		case <-ctx.Done():
			return
		}
	}
}

func (d *Databases) look() {
	for _, b := range d.all() {
		fresh, err := b.look()
		switch {
		case err != nil && !b.away: // once, not each time
			d.log.Warn("a database of places cannot be read; the one of before stays", "error", err)
		case fresh:
			d.log.Info("database of places read", "kind", b.kind, "file", b.name, "built", b.built())
		}
		b.away = err != nil
	}
}

func (b *database) built() time.Time {
	r := b.now.Load()
	if r == nil {
		return time.Time{}
	}
	return r.Metadata.BuildTime().UTC()
}

// Lookup returns the country of an address, ISO 3166-1 alpha-2, and the number of its
// autonomous system; "" and 0 where they are not known.
func (d *Databases) Lookup(a netip.Addr) (country string, asn uint32) {
	a = a.Unmap().WithZone("")
	d.country.get(a, &country, "country", "iso_code")
	if country == "" {
		d.country.get(a, &country, "country_code") // as IPinfo has it
	}
	if len(country) != 2 {
		country = ""
	}
	d.asn.get(a, &asn, "autonomous_system_number")
	return strings.ToUpper(country), asn
}

// get reads one value; what goes wrong is that it is not known.
func (b *database) get(a netip.Addr, to any, path ...any) {
	r := b.now.Load()
	if r == nil || !a.IsValid() || a.Is6() && r.Metadata.IPVersion == 4 {
		return
	}
	defer func() { _ = recover() }() // as in parse
	if found := r.Lookup(a); found.Found() {
		_ = found.DecodePath(to, path...) // to stays as it is
	}
}

var built = prometheus.NewDesc("postern_geo_built_timestamp_seconds",
	"When the database of places in use was built, by kind; they grow old in weeks.", []string{"kind"}, nil)

// Describe implements prometheus.Collector.
func (d *Databases) Describe(ch chan<- *prometheus.Desc) { ch <- built }

// Collect implements prometheus.Collector.
func (d *Databases) Collect(ch chan<- prometheus.Metric) {
	for _, b := range d.all() {
		if at := b.built(); !at.IsZero() {
			ch <- prometheus.MustNewConstMetric(built, prometheus.GaugeValue, float64(at.Unix()), b.kind)
		}
	}
}
