package swarm

import (
	"math"
	"testing"
)

func TestGenerate(t *testing.T) {
	all, err := Generate("load-%03d", 12)
	if err != nil || len(all) != 12 || all[0].Name != "load-001" || all[11].Name != "load-012" || all[0].Password == all[1].Password || len(all[0].Password) < 20 {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{"", "load", "load-%s", "%d-%d", "100%", "load-%%d", "load-%0d", "load-%999d"} {
		if _, err := Generate(bad, 1); err == nil {
			t.Errorf("pattern %q", bad)
		}
	}
	for _, n := range []int{0, -1, maxUsers + 1} {
		if _, err := Generate("%d", n); err == nil {
			t.Errorf("%d users", n)
		}
	}
}

func TestCodeRate(t *testing.T) {
	if most, bounded := CodeRate(users(t, "t1", "t2", "t3")); !bounded || math.Abs(most-.1) > 1e-9 {
		t.Errorf("%v, %v", most, bounded)
	}
	if _, bounded := CodeRate(users(t, "t1", "a")); bounded {
		t.Error("a needs no code")
	}
}
