// Package report is what a device and the service say to each other about the device's
// state: signed reports and the enrolment of the key that signs them (Ed25519, RFC 8032),
// as JSON (RFC 8259) over HTTPS.
//
//	POST /agent/v1/enrol    {"ticket","name","key","proof"}    → {"device","user","time"}
//	POST /agent/v1/report   {"report","signature","key"}       → {"device","time"}
//	                        refused                            → {"refused","time"}
//
// A report is bytes that are signed as they are, so that nobody has to write the same
// JSON twice to check a signature:
//
//	{"v":1,"device":"LT-0231-k7qmw3","time":"2026-03-09T14:05:00Z","nonce":"…","seq":1773065100000,
//	 "facts":{"os":"windows","os_version":"10.0.19045.3570","disk_encrypted":true,…}}
//
// What is parsed here has one spelling: fields in this order, no white space, nothing
// twice and nothing else. Every fact may be left out, and then is not known.
//
// The package is all that the agent shares with the service; it imports nothing of ours.
package report

// Version is the only one there is.
const Version = 1

// Where the service listens, and what it takes.
const (
	EnrolPath   = "/agent/v1/enrol"
	ReportPath  = "/agent/v1/report"
	ContentType = "application/json"
)

// Bounds, ours: a report has about 400 octets.
const (
	MaxReport  = 4 << 10
	MaxRequest = 8 << 10
	MaxReply   = 4 << 10
	MaxID      = 64
	maxTicket  = 128
	maxWord    = 64
	// maxSeq is the largest number that JSON and Lua keep exactly.
	maxSeq = 1 << 53
)

// ValidID says whether s can be the name of a device: letters, digits and . _ -, with a
// letter or a digit first. Such a name can be written behind a user's.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > MaxID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}
