package directory

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestManyUsers(t *testing.T) {
	u := testUsers(t)
	if err := u.Add(User{Name: "alice", Groups: []string{"VPN-Users"}}, "wonderland"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(u.Path, append(read(t, u), "# a remark"...), 0o600); err != nil { // without an end of line
		t.Fatal(err)
	}
	var many []User
	var passwords, names []string
	for i := range 300 {
		many = append(many, User{Name: fmt.Sprintf("load-%03d", i), Groups: []string{"Load Test"}})
		passwords, names = append(passwords, fmt.Sprint("password ", i)), append(names, fmt.Sprintf("LOAD-%03d", i))
	}
	if err := u.AddAll(many, passwords); err != nil {
		t.Fatal(err)
	}
	list, err := u.List()
	if err != nil || len(list) != 301 || !list[300].Password || list[300].Groups[0] != "Load Test" {
		t.Fatalf("%d users, %v", len(list), err)
	}

	before := string(read(t, u))
	for _, c := range []struct {
		users     []User
		passwords []string
		want      error
	}{
		{[]User{{Name: "new"}, {Name: "ALICE"}}, []string{"x", "y"}, ErrExists},
		{[]User{{Name: "new"}, {Name: "NEW"}}, []string{"x", "y"}, ErrExists},
		{[]User{{Name: "new"}, {Name: "a+b"}}, []string{"x", "y"}, nil},
		{[]User{{Name: "new"}, {Name: "newer"}}, []string{"x", ""}, nil},
	} {
		if err := u.AddAll(c.users, c.passwords); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%v: %v", c.users, err)
		}
		if string(read(t, u)) != before {
			t.Fatalf("%v: some were added", c.users)
		}
	}

	n, err := u.DeleteAll(append(names, "nobody"))
	if err != nil || n != 300 {
		t.Errorf("%d deleted, %v", n, err)
	}
	if after := string(read(t, u)); !strings.Contains(after, "\nalice nt=") || !strings.HasSuffix(after, "# a remark\n") || strings.Contains(after, "load-") {
		t.Errorf("left:\n%s", after)
	}
	if n, err := u.DeleteAll(names); n != 0 || err != nil {
		t.Errorf("%d deleted again, %v", n, err)
	}
}

func read(t *testing.T, u *Users) []byte {
	t.Helper()
	b, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
