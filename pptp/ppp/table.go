package ppp

import (
	"fmt"
	"strings"
)

// stateTable is RFC 1661 §4.1 as printed there, so that it can be compared line by
// line. It is parsed at start-up; nothing else in the package knows a transition.
//
// Footnotes (RFC 1661 §4.1): [p] passive option, [r] restart option, [x] crossed
// connection. None of the three changes the state that follows; we take neither the
// passive nor the restart option.
const stateTable = `
      | State
      |    0         1         2         3         4         5
Events| Initial   Starting  Closed    Stopped   Closing   Stopping
------+-----------------------------------------------------------
 Up   |    2     irc,scr/6     -         -         -         -
 Down |    -         -         0       tls/1       0         1
 Open |  tls/1       1     irc,scr/6     3r        5r        5r
 Close|    0       tlf/0       2         2         4         4
      |
  TO+ |    -         -         -         -       str/4     str/5
  TO- |    -         -         -         -       tlf/2     tlf/3
      |
 RCR+ |    -         -       sta/2 irc,scr,sca/8   4         5
 RCR- |    -         -       sta/2 irc,scr,scn/6   4         5
 RCA  |    -         -       sta/2     sta/3       4         5
 RCN  |    -         -       sta/2     sta/3       4         5
      |
 RTR  |    -         -       sta/2     sta/3     sta/4     sta/5
 RTA  |    -         -         2         3       tlf/2     tlf/3
      |
 RUC  |    -         -       scj/2     scj/3     scj/4     scj/5
 RXJ+ |    -         -         2         3         4         5
 RXJ- |    -         -       tlf/2     tlf/3     tlf/2     tlf/3
      |
 RXR  |    -         -         2         3         4         5

      | State
      |    6         7         8           9
Events| Req-Sent  Ack-Rcvd  Ack-Sent    Opened
------+-----------------------------------------
 Up   |    -         -         -           -
 Down |    1         1         1         tld/1
 Open |    6         7         8           9r
 Close|irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4
      |
  TO+ |  scr/6     scr/6     scr/8         -
  TO- | tlf/3p    tlf/3p    tlf/3p         -
      |
 RCR+ |  sca/8   sca,tlu/9   sca/8   tld,scr,sca/8
 RCR- |  scn/6     scn/7     scn/6   tld,scr,scn/6
 RCA  |  irc/7     scr/6x  irc,tlu/9   tld,scr/6x
 RCN  |irc,scr/6   scr/6x  irc,scr/8   tld,scr/6x
      |
 RTR  |  sta/6     sta/6     sta/6   tld,zrc,sta/5
 RTA  |    6         6         8       tld,scr/6
      |
 RUC  |  scj/6     scj/7     scj/8     scj/9
 RXJ+ |    6         6         8           9
 RXJ- |  tlf/3     tlf/3     tlf/3   tld,irc,str/5
      |
 RXR  |    6         7         8       ser/9
`

// State is a state of the automaton, numbered as RFC 1661 §4.2 does. The zero
// state accepts nothing.
type State uint8

const (
	Initial State = iota
	Starting
	Closed
	Stopped
	Closing
	Stopping
	ReqSent
	AckRcvd
	AckSent
	Opened
	numStates = iota
)

var stateNames = [numStates]string{
	"Initial", "Starting", "Closed", "Stopped", "Closing", "Stopping",
	"Req-Sent", "Ack-Rcvd", "Ack-Sent", "Opened",
}

// String returns the RFC's name of the state.
func (s State) String() string {
	if int(s) < numStates {
		return stateNames[s]
	}
	return "unknown"
}

// event is one of RFC 1661 §4.3.
type event uint8

const (
	evUp event = iota
	evDown
	evOpen
	evClose
	evTimeout     // TO+
	evTimeoutLast // TO-
	evGoodRequest // RCR+
	evBadRequest  // RCR-
	evAck         // RCA
	evNak         // RCN: Nak or Reject
	evTermRequest // RTR
	evTermAck     // RTA
	evUnknownCode // RUC
	evRejected    // RXJ+
	evFatalReject // RXJ-
	evEcho        // RXR: echo and discard
	numEvents     = iota
)

var eventNames = [numEvents]string{
	"Up", "Down", "Open", "Close", "TO+", "TO-", "RCR+", "RCR-", "RCA", "RCN",
	"RTR", "RTA", "RUC", "RXJ+", "RXJ-", "RXR",
}

// action is one of RFC 1661 §4.4.
//
// Handled in: actionNames, fsm.act.
type action uint8

const (
	actNone    action = iota
	tlu               // this layer up
	tld               // this layer down
	tls               // this layer started
	tlf               // this layer finished
	irc               // initialise restart count
	zrc               // zero restart count
	scr               // send Configure-Request
	sca               // send Configure-Ack
	scn               // send Configure-Nak or -Reject
	str               // send Terminate-Request
	sta               // send Terminate-Ack
	scj               // send Code-Reject
	ser               // send Echo-Reply
	numActions = iota
)

var actionNames = [numActions]string{
	"", "tlu", "tld", "tls", "tlf", "irc", "zrc", "scr", "sca", "scn", "str", "sta", "scj", "ser",
}

// transition is a cell of the table. legal is false for the RFC's '-': the event
// cannot happen there, or its packet is dropped, and the state stays.
type transition struct {
	legal   bool
	next    State
	note    byte // r, p, x or 0
	actions [3]action
}

func (t transition) has(a action) bool {
	return t.actions[0] == a || t.actions[1] == a || t.actions[2] == a
}

var transitions = mustParseTable(stateTable)

func mustParseTable(text string) [numEvents][numStates]transition {
	t, err := parseTable(text)
	if err != nil {
		panic(err) // the text above is wrong: no program should start with it
	}
	return t
}

// parseTable reads a table in the RFC's shape and wants every cell exactly once.
func parseTable(text string) (t [numEvents][numStates]transition, err error) {
	var columns []int
	var filled [numEvents][numStates]bool
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, "|")
		name = strings.TrimSpace(name)
		cells := strings.Fields(rest)
		switch {
		case !ok || name == "Events" || len(cells) == 0 || cells[0] == "State":
			continue
		case name == "": // the line of state numbers
			columns = columns[:0]
			for _, c := range cells {
				var n int
				if _, err := fmt.Sscanf(c, "%d", &n); err != nil || n < 0 || n >= numStates {
					return t, fmt.Errorf("ppp: state table: bad column %q", c)
				}
				columns = append(columns, n)
			}
			continue
		}
		e, ok := index(eventNames[:], name)
		if !ok {
			return t, fmt.Errorf("ppp: state table: unknown event %q", name)
		}
		if len(cells) != len(columns) {
			return t, fmt.Errorf("ppp: state table: %s has %d cells for %d states", name, len(cells), len(columns))
		}
		for i, c := range cells {
			cell, err := parseCell(c)
			if err != nil {
				return t, fmt.Errorf("ppp: state table: %s in state %d: %w", name, columns[i], err)
			}
			if filled[e][columns[i]] {
				return t, fmt.Errorf("ppp: state table: %s in state %d given twice", name, columns[i])
			}
			t[e][columns[i]], filled[e][columns[i]] = cell, true
		}
	}
	for e := range filled {
		for s := range filled[e] {
			if !filled[e][s] {
				return t, fmt.Errorf("ppp: state table: no cell for %s in state %d", eventNames[e], s)
			}
		}
	}
	return t, nil
}

// parseCell reads "action,action/state" with an optional footnote letter.
func parseCell(c string) (t transition, err error) {
	if c == "-" {
		return transition{}, nil
	}
	actions, next, ok := strings.Cut(c, "/")
	if !ok {
		actions, next = "", c
	}
	if len(next) == 2 && strings.ContainsRune("rpx", rune(next[1])) {
		t.note, next = next[1], next[:1]
	}
	if len(next) != 1 || next[0] < '0' || next[0] > '9' {
		return t, fmt.Errorf("bad cell %q", c)
	}
	t.legal, t.next = true, State(next[0]-'0')
	if actions == "" {
		return t, nil
	}
	for i, name := range strings.Split(actions, ",") {
		a, ok := index(actionNames[:], name)
		if !ok || i >= len(t.actions) {
			return t, fmt.Errorf("bad actions in cell %q", c)
		}
		t.actions[i] = action(a)
	}
	return t, nil
}

func index(names []string, name string) (int, bool) {
	for i, n := range names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}
