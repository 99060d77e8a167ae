package policy

// What the lockout shield has counted within its windows, before this login. Counters
// are always known: none is no value of theirs.
//
//	risk.user_failures: ">= 3"

func userFailures(f *Facts) int { return f.Risk.UserFailures }

func sourceFailures(f *Facts) int { return f.Risk.SourceFailures }

func sourceUsers(f *Facts) int { return f.Risk.SourceUsers }

func codeFailures(f *Facts) int { return f.Risk.CodeFailures }
