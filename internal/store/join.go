package store

// Join merges sequences of one tag into one, in the order given, and leaves the
// rest apart. What several packages want to know or do about one user so becomes
// one call, in which a lost guard of one stops the others behind it.
func Join(lists ...[]Seq) []Seq {
	var out []Seq
	at := map[string]int{}
	for _, list := range lists {
		for _, s := range list {
			tag, has := s.tag()
			i, found := at[tag]
			if !has || !found {
				if len(s) == 0 {
					continue
				}
				if has {
					at[tag] = len(out)
				}
				out = append(out, append(Seq(nil), s...))
				continue
			}
			out[i] = append(out[i], s...)
		}
	}
	return out
}

func (s Seq) tag() (string, bool) {
	for _, op := range s {
		if ks := op.keys(); len(ks) > 0 {
			return ks[0].tag, true
		}
	}
	return "", false
}
