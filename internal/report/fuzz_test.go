package report

import (
	"bytes"
	"testing"
)

// What is accepted is written again as it was.
func FuzzParse(f *testing.F) {
	f.Add([]byte(spelled))
	f.Add([]byte(`{"v":1,"device":"a","time":"2026-03-09T14:05:00Z","nonce":"AQIDAAAAAAAAAAAAAAAAAA","seq":1,"facts":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%s\nis written as\n%s", b, again)
		}
		if e, err := Seal(r, key(1)); err != nil || !e.Signed(e.signer()) {
			t.Fatalf("%s cannot be signed: %v", b, err)
		}
	})
}

func (e *Envelope) signer() []byte { return Enrol("", "", key(1)).Key }

func FuzzEnvelope(f *testing.F) {
	e, err := Seal(sample(), key(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.Append(nil))
	f.Add(Enrol("ABCD-EFGH", "LT-0231", key(1)).Append(nil))
	f.Add([]byte(`{"device":"a","time":"2026-03-09T14:05:00Z"}`))
	f.Add([]byte(`{"refused":"clock","time":"2026-03-09T14:05:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEnvelope(b); err == nil {
			if !bytes.Equal(e.Append(nil), b) {
				t.Fatalf("envelope %s is written in another way", b)
			}
			if _, err := Parse(e.Report); err == nil {
				e.Signed(e.signer())
			}
		}
		if e, err := ParseEnrolment(b); err == nil {
			if !bytes.Equal(e.Append(nil), b) {
				t.Fatalf("enrolment %s is written in another way", b)
			}
			e.Proved()
		}
		if r, err := ParseReply(b); err == nil {
			if back, err := ParseReply(r.Append(nil)); err != nil || *back != *r && !back.Time.Equal(r.Time) {
				t.Fatalf("reply %s comes back as %+v, %v", b, back, err)
			}
		}
	})
}
