package policy

import "time"

// How long ago something was with a device.
//
//	device.report_age: "<= 1h"
//	device.patch_age: ["> 45d", none]

// deviceReported is when a source that is believed enough last said anything.
func deviceReported(f *Facts, demand Confidence) (last time.Time) {
	for c := max(demand, Claimed); c <= Attested; c++ {
		if t := f.Device.Reported[c]; last.IsZero() || t.After(last) && !t.IsZero() {
			last = t
		}
	}
	return last
}

func devicePatched(f *Facts, demand Confidence) time.Time { return believed(f.Device.Patched, demand) }

func deviceBooted(f *Facts, demand Confidence) time.Time { return believed(f.Device.Booted, demand) }

func deviceLastLogon(f *Facts, demand Confidence) time.Time {
	return believed(f.Device.LastLogon, demand)
}
