// Package lockout is the shield in front of the directory: it counts failures
// per user, per source, per pair of both and per network around the source, wrong
// codes apart from wrong passwords (a guesser of passwords must not lock the token),
// and how many users fail from one place. It refuses before anybody is asked.
// Reaching a limit locks; each further strike locks for twice as long.
//
// Locking a name is a weapon in an attacker's hand, so a pair of user and source
// that recently succeeded is judged by its own failures only: the user at the
// usual address still gets in while everybody else is refused.
//
// A login uses it in three places. [Shield.Ask] is what to load; [Shield.Check]
// decides on what was loaded and is pure; [Shield.Failed], or [Shield.Guard] and
// [Shield.Clear], are what to commit. Logins under way at the same time see the
// same counters: the guard makes a right answer lose when by then too many wrong
// ones have been counted, so that parallel guessing gains nothing.
//
// # A directory with a lockout of its own
//
// Active Directory locks an account at its threshold T, and counts also what does
// not pass us. A [Place] keeps us below it, whoever else is asking:
//
//   - A place is taken in the trip that loads the login, in one script, while the
//     failures known and the places taken are together fewer than the limit. Then the
//     directory's own count A is read, fresh, and the login goes on while A, or our own
//     failures if they are more (each controller counts apart), and the places taken
//     before are fewer. Of all that ever fail within T's window look at the one that
//     took its place last: every other one was in A, in ours or in a place before it,
//     so that with it they are no more than the limit.
//   - The limit is T-2 for strangers and T-1 for good pairs. Nobody reaches T, and since
//     strangers together never fill more than T-2, one place is always left for the user
//     at the usual address. T = 2 leaves both the same one; T = 1 cannot be protected.
//   - A place ends with the commit that counts the failure or forgets them. One whose
//     service died, or whose directory was silent and may yet count, lapses.
//   - Who is refused takes no place, or gives it back: by the store's script where the
//     user's counters or the last word of the directory refuse, by not asking for one
//     where the source is known to be locked. So refused attempts keep nobody out. A
//     good pair that finds the places taken by others waits for its turn.
//   - What the directory said is kept for the script. Strangers are refused on it for
//     as long as it is fresh; then one more question, not about a password, renews it.
package lockout
