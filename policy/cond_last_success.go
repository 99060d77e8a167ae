package policy

import "time"

// lastSuccess is when the user last got in from this source: none is never, or not for
// as long as that is remembered.
//
//	last_success: "<= 30d"
func lastSuccess(f *Facts, _ Confidence) time.Time { return f.LastSuccess }
