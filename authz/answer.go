package authz

// NASAnswer is what became of a wish that a NAS should end or change a session. The
// zero value is that nothing is known.
//
// Handled in: nasAnswerNames; radiusd makes them of packets, follow decides what to
// do next.
type NASAnswer uint8

const (
	NASUnknown  NASAnswer = iota
	NASDone               // it was done
	NASNotFound           // the NAS has no such session
	NASRefused            // it will not do it
	NASNoWay              // there is nowhere to ask: no connection, and no address configured
	NASNoAnswer           // asked, and nothing believable came back, or not now
)

var nasAnswerNames = [...]string{
	NASUnknown: "unknown", NASDone: "done", NASNotFound: "not found", NASRefused: "refused", NASNoWay: "no way", NASNoAnswer: "no answer",
}

// String returns the answer as audit lines and metrics spell it.
func (a NASAnswer) String() string {
	if int(a) < len(nasAnswerNames) {
		return nasAnswerNames[a]
	}
	return nasAnswerNames[NASUnknown]
}
