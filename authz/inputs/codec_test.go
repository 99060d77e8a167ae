package inputs

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern/policy"
)

// fill gives every field below v a value of its own, so that one the codec forgot is
// seen.
func fill(v reflect.Value, n *int) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(1_790_000_000+int64(*n), int64(*n)).UTC()
		return
	case *netip.Addr:
		*x = netip.AddrFrom4([4]byte{192, 0, 2, byte(*n)})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(uint64(*n%3 + 1))
	default:
		panic("a field of kind " + v.Kind().String() + ": the codec must learn it")
	}
}

// full is a record with every field set.
func full() Record {
	var r Record
	n := 0
	fill(reflect.ValueOf(&r).Elem(), &n)
	return r
}

// Nothing that there is to a record is lost: a field that is added to the facts and not
// to the codec makes this fail.
func TestCodecKeepsEverything(t *testing.T) {
	r := full()
	b := AppendRecord([]byte("before"), &r)
	got, n, err := ParseRecord(append(b, "behind"...)[len("before"):])
	if err != nil || n != len(b)-len("before") {
		t.Fatalf("%d of %d, %v", n, len(b), err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
	// With names kept, too.
	p := newParser()
	for range 2 {
		var kept Record
		fields, _, _ := frame(b[len("before"):])
		if err := p.record(fields, &kept); err != nil || !reflect.DeepEqual(kept, r) {
			t.Errorf("%v: %+v", err, kept)
		}
	}
}

// What is not known takes no room, and comes back as not known.
func TestCodecLeavesZeroAway(t *testing.T) {
	var r Record
	b := AppendRecord(nil, &r)
	if len(b) != 2+sumLen {
		t.Errorf("%d octets: % x", len(b), b)
	}
	got, _, err := ParseRecord(b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	// A permit without obligations is not one whose obligations nobody knows.
	r.Terms = []policy.Term{}
	if got, _, err := ParseRecord(AppendRecord(nil, &r)); err != nil || got.Terms == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// A newer program's fields are passed over, at every depth.
func TestCodecSkipsWhatItDoesNotKnow(t *testing.T) {
	r := full()
	fields := appendFields(nil, &r)
	fields = appendText(fields, 4711, "of tomorrow")
	fields = appendText(fields, tagGeo+1, "of tomorrow")
	fields = appendNested(fields, tagDevice, func(b []byte) []byte {
		b = appendText(b, 99, "of tomorrow")
		return appendNested(b, tagDeviceOS, func(b []byte) []byte {
			b = appendText(b, tagValue, r.Facts.Device.OS.Value)
			b = appendOctet(b, tagConfidence, byte(r.Facts.Device.OS.Confidence))
			b = appendText(b, tagFactSource, r.Facts.Device.OS.Source)
			b = appendTime(b, tagFactAt, r.Facts.Device.OS.At)
			return appendText(b, 77, "of tomorrow")
		})
	})
	var got Record
	if err := new(parser).record(fields, &got); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, r)
	}
}

func TestParseErrors(t *testing.T) {
	r := full()
	good := AppendRecord(nil, &r)
	for n := range good {
		if _, _, err := ParseRecord(good[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x40
		if _, _, err := ParseRecord(bad); err == nil {
			t.Fatalf("octet %d altered, and nobody noticed", i)
		}
	}
	if _, _, err := ParseRecord([]byte{frameMark, 0xff, 0xff, 0xff, 0xff, 0x7f}); !errors.Is(err, ErrDamaged) {
		t.Error(err) // 32 GiB
	}
	for _, fields := range []string{
		"\x02\x00",         // no instant
		"\x02\x01\x80",     // half of one
		"\x03\x02\x01\x01", // two octets of kind
		"\x23\x03\x01\x02\x03",
		"\x22\x02\x05a",                         // a group of five letters
		"\x33\x03\x06\x05ab",                    // a device that ends early
		"\x25\x06\xff\xff\xff\xff\xff\x7f",      // no ASN is that large
		"\x02\x07\x00\x80\x80\x80\x80\x80\x01x", // nanoseconds
		"\x80",
	} {
		var got Record
		if err := new(parser).record([]byte(fields), &got); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v, %+v", fields, err, got)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	r := full()
	f.Add(AppendRecord(nil, &r))
	r = Record{Decision: "D", At: time.Unix(0, 1), Kind: Login, Reason: "wrong password"}
	f.Add(AppendRecord(nil, &r))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields := b
		if framed, n, err := frame(b); err == nil {
			if n > len(b) {
				t.Fatalf("%d of %d octets", n, len(b))
			}
			fields = framed
		}
		// The sum keeps a fuzzer out: it is let in behind it.
		var first, again Record
		if new(parser).record(fields, &first) != nil {
			return
		}
		p := newParser()
		for range 2 { // the second time of what was kept
			again = Record{}
			if err := p.record(fields, &again); err != nil || !reflect.DeepEqual(first, again) {
				t.Fatalf("%v: %+v is %+v", err, first, again)
			}
		}
		framed := AppendRecord(nil, &first)
		second, n, err := ParseRecord(framed)
		if err != nil || n != len(framed) || !reflect.DeepEqual(first, second) {
			t.Fatalf("%v: %+v became %+v", err, first, second)
		}
	})
}

// The corpus is made here, so that it is what the codec writes.
func TestCorpus(t *testing.T) {
	seeds := map[string]Record{"full": full(), "empty": {}, "refused": {
		Decision: "0683PQSXSB3ZC2M0J8YVQ8KX", At: time.Unix(1_790_000_000, 5).UTC(), Kind: Login, Verdict: "reject", Reason: "wrong password",
		Facts: policy.Facts{User: "alice", Source: netip.MustParseAddr("2001:db8::1"), NAS: "gw1"},
	}}
	dir := filepath.Join("testdata", "fuzz", "FuzzParseRecord")
	for name, r := range seeds {
		text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", AppendRecord(nil, &r))
		if os.Getenv("POSTERN_WRITE_CORPUS") != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if name != "full" && strings.TrimSpace(string(have)) != strings.TrimSpace(text) {
			t.Errorf("%s: the codec writes something else than when the corpus was made", name)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	r := full()
	frames := AppendRecord(nil, &r)
	p := newParser()
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	for b.Loop() {
		fields, _, err := frame(frames)
		if err != nil {
			b.Fatal(err)
		}
		var got Record
		if err := p.record(fields, &got); err != nil {
			b.Fatal(err)
		}
	}
}
