package pptp

import "strings"

// separators are those that a service may be configured with (internal/config,
// Separator); a node does not know which.
const separators = "+,;=*#!/"

// redact takes one-time codes out of a name as typed, for logs: 6 to 8 digits behind a
// separator, with nothing, a domain or another separator behind. A code is one for as long as nobody
// has used it.
func redact(name string) string {
	var b strings.Builder
	for rest := name; ; {
		i := strings.IndexAny(rest, separators)
		if i < 0 {
			b.WriteString(rest)
			return b.String()
		}
		b.WriteString(rest[:i])
		sep, behind := rest[i:i+1], rest[i+1:]
		n := 0
		for n < len(behind) && behind[n] >= '0' && behind[n] <= '9' {
			n++
		}
		if n >= 6 && n <= 8 && (n == len(behind) || strings.IndexByte("@"+separators, behind[n]) >= 0) {
			rest = behind[n:]
			continue
		}
		b.WriteString(sep)
		rest = behind
	}
}
