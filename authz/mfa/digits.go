package mfa

import "slices"

// Digits are the lengths of the user's codes, longest first.
func (q *Query) Digits() ([]int, error) {
	list, err := parseRecord(q.record.Value)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, t := range list {
		all = append(all, t.Digits)
	}
	for _, g := range q.given {
		all = append(all, g.Digits)
	}
	slices.Sort(all)
	slices.Reverse(all)
	return slices.Compact(all), nil
}
