package ppp

import (
	"strings"
	"testing"
)

// rfcRows is RFC 1661 §4.1 once more, typed by event over all ten states, so that a
// slip of the pen in table.go shows.
var rfcRows = map[string]string{
	"Up":    "2 irc,scr/6 - - - - - - - -",
	"Down":  "- - 0 tls/1 0 1 1 1 1 tld/1",
	"Open":  "tls/1 1 irc,scr/6 3r 5r 5r 6 7 8 9r",
	"Close": "0 tlf/0 2 2 4 4 irc,str/4 irc,str/4 irc,str/4 tld,irc,str/4",
	"TO+":   "- - - - str/4 str/5 scr/6 scr/6 scr/8 -",
	"TO-":   "- - - - tlf/2 tlf/3 tlf/3p tlf/3p tlf/3p -",
	"RCR+":  "- - sta/2 irc,scr,sca/8 4 5 sca/8 sca,tlu/9 sca/8 tld,scr,sca/8",
	"RCR-":  "- - sta/2 irc,scr,scn/6 4 5 scn/6 scn/7 scn/6 tld,scr,scn/6",
	"RCA":   "- - sta/2 sta/3 4 5 irc/7 scr/6x irc,tlu/9 tld,scr/6x",
	"RCN":   "- - sta/2 sta/3 4 5 irc,scr/6 scr/6x irc,scr/8 tld,scr/6x",
	"RTR":   "- - sta/2 sta/3 sta/4 sta/5 sta/6 sta/6 sta/6 tld,zrc,sta/5",
	"RTA":   "- - 2 3 tlf/2 tlf/3 6 6 8 tld,scr/6",
	"RUC":   "- - scj/2 scj/3 scj/4 scj/5 scj/6 scj/7 scj/8 scj/9",
	"RXJ+":  "- - 2 3 4 5 6 6 8 9",
	"RXJ-":  "- - tlf/2 tlf/3 tlf/2 tlf/3 tlf/3 tlf/3 tlf/3 tld,irc,str/5",
	"RXR":   "- - 2 3 4 5 6 7 8 ser/9",
}

// cell writes a transition as the RFC does.
func (t transition) String() string {
	if !t.legal {
		return "-"
	}
	var names []string
	for _, a := range t.actions {
		if a != actNone {
			names = append(names, actionNames[a])
		}
	}
	out := strings.Join(names, ",")
	if out != "" {
		out += "/"
	}
	out += string(rune('0' + t.next))
	if t.note != 0 {
		out += string(rune(t.note))
	}
	return out
}

func TestTableIsTheRFCs(t *testing.T) {
	if len(rfcRows) != numEvents {
		t.Fatalf("%d rows for %d events", len(rfcRows), numEvents)
	}
	for e := range numEvents {
		row := strings.Fields(rfcRows[eventNames[e]])
		if len(row) != numStates {
			t.Fatalf("%s: %d cells", eventNames[e], len(row))
		}
		for s := range numStates {
			if got := transitions[e][s].String(); got != row[s] {
				t.Errorf("%s in %s: got %s, RFC says %s", eventNames[e], State(s), got, row[s])
			}
		}
	}
}

func TestTableRejectsNonsense(t *testing.T) {
	good := stateTable
	for name, bad := range map[string]string{
		"missing row":    strings.Replace(good, " RUC  |    -         -       scj/2     scj/3     scj/4     scj/5\n", "", 1),
		"double row":     good + "      |    0\n Up   |    2\n",
		"unknown event":  strings.Replace(good, " RTA  |", " RTX  |", 1),
		"unknown action": strings.Replace(good, "tld,zrc,sta/5", "tld,zzz,sta/5", 1),
		"four actions":   strings.Replace(good, "tld,zrc,sta/5", "tld,zrc,sta,tlf/5", 1),
		"no such state":  strings.Replace(good, "ser/9", "ser/x", 1),
		"short row":      strings.Replace(good, "ser/9", "", 1),
		"column 12":      strings.Replace(good, "|    6         7", "|    12         7", 1),
	} {
		if bad == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := parseTable(bad); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}
