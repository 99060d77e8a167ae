package policy

import "fmt"

// didYouMean ends a message with the name nearest to what was typed, or not at
// all when none is near: at most a third of the letters may differ. It is a copy
// of internal/config's, because this package imports nothing of ours.
func didYouMean(typed string, names []string) string {
	typed = foldString(typed)
	if len(typed) < 3 || len(typed) > 64 {
		return ""
	}
	best, bound := "", len(typed)/3
	for _, name := range names {
		if d := distance(typed, foldString(name)); d < bound || d == bound && best == "" {
			best, bound = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance counts the single-letter changes, with neighbours swapped as one,
// that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
