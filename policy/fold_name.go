package policy

// Fold is a name in the form in which conditions compare it.
func Fold(name string) string { return foldString(name) }
