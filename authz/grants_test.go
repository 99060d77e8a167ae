package authz

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"postern/authz/grant"
	"postern/internal/store"
)

// keeper is what an operator has: no part of the services under test.
func (w *world) keeper() *grant.Keeper { return grant.New(w.Backend.Store) }

// spoilGrants makes a user's list unreadable.
func (w *world) spoilGrants(t testing.TB, user string) {
	t.Helper()
	must(t, w.Backend.Do(context.Background(), store.Seq{&store.Put{Key: store.UserGrants(user), Value: "{"}}))
}

// touchGrants writes a user's list anew, differently.
func (w *world) touchGrants(t testing.TB, user string, i int) {
	t.Helper()
	get := &store.Get{Key: store.UserGrants(user)}
	must(t, w.Backend.Do(context.Background(), store.Seq{get}))
	var list []grant.Grant
	must(t, json.Unmarshal([]byte(get.Value), &list))
	list[0].Decision = fmt.Sprint(i)
	b, err := json.Marshal(list)
	must(t, err)
	must(t, w.Backend.Do(context.Background(), store.Seq{&store.Put{Key: store.UserGrants(user), Value: string(b), TTL: time.Hour}}))
}
