package portal

import (
	"slices"
	"strings"
)

// Browsers send a handful of languages; who sends more is not one.
const (
	maxAccept = 512
	maxTags   = 16
)

// parseAcceptLanguage returns the language ranges of a header, the most wanted first
// (RFC 9110 §12.5.4). It is total: what it cannot read is left out.
//
//	de-DE, de;q=0.9, en;q=0.8, *;q=0.5
func parseAcceptLanguage(header string) []string {
	if len(header) > maxAccept {
		return nil
	}
	type wish struct {
		tag     string
		quality int
	}
	var wishes []wish
	for part := range strings.SplitSeq(header, ",") {
		tag, params, weighted := strings.Cut(part, ";")
		tag = strings.TrimSpace(tag)
		quality := 1000
		if weighted {
			name, value, _ := strings.Cut(strings.TrimSpace(params), "=")
			if strings.TrimSpace(name) != "q" && strings.TrimSpace(name) != "Q" {
				continue
			}
			quality = parseQuality(strings.TrimSpace(value))
		}
		if quality <= 0 || !isRange(tag) {
			continue
		}
		if wishes = append(wishes, wish{tag, quality}); len(wishes) == maxTags {
			break
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return b.quality - a.quality })
	tags := make([]string, len(wishes))
	for i, w := range wishes {
		tags[i] = w.tag
	}
	return tags
}

// parseQuality reads a weight (RFC 9110 §12.4.2) in thousandths; -1: it is none.
func parseQuality(s string) int {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return -1
	}
	q := 0
	for i := range 3 {
		q *= 10
		if i < len(fraction) {
			if fraction[i] < '0' || fraction[i] > '9' {
				return -1
			}
			q += int(fraction[i] - '0')
		}
	}
	if whole == "1" {
		if q != 0 {
			return -1
		}
		return 1000
	}
	return q
}

// isRange says whether s is a language range (RFC 4647 §2.1).
func isRange(s string) bool {
	if s == "*" {
		return true
	}
	for sub := range strings.SplitSeq(s, "-") {
		if len(sub) == 0 || len(sub) > 8 || strings.Trim(strings.ToLower(sub), "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}
