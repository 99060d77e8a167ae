package inputs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Several services' records come in the order of time.
func TestDirectoriesTogether(t *testing.T) {
	root := t.TempDir()
	var dirs []string
	want := ""
	for s := range 3 {
		dir := filepath.Join(root, fmt.Sprint("service", s))
		k := keeper(t, Config{Dir: dir})
		k.Start()
		for i := range 40 {
			k.Write(permitted(fmt.Sprintf("%d/%d", i, s), noon.Add(time.Duration(i)*time.Hour+time.Duration(s)*time.Minute)))
		}
		k.Stop()
		dirs = append(dirs, dir)
	}
	for i := range 40 {
		for s := range 3 {
			want += fmt.Sprintf(" %d/%d", i, s)
		}
	}
	got, _ := all(t, time.Time{}, time.Time{}, dirs[2], dirs[0], dirs[1])
	if " "+ids(got) != want {
		t.Errorf("got %s", ids(got))
	}
	if _, err := Open(time.Time{}, time.Time{}, filepath.Join(root, "none")); err == nil {
		t.Error("a directory that is not there is read")
	}
}

// What is cut off or altered costs what was cut and altered, wherever that is.
func TestDamage(t *testing.T) {
	var frames [][]byte
	for i := range 5 {
		frames = append(frames, AppendRecord(nil, permitted(fmt.Sprint("D", i), noon)))
	}
	whole := func(list ...[]byte) (b []byte) {
		for _, f := range list {
			b = append(b, f...)
		}
		return b
	}
	altered := append([]byte{}, frames[1]...)
	altered[40] ^= 1
	long := append([]byte{frameMark, 0xff, 0xff, 0x3f}, frames[1][4:]...) // says that it is 1 MiB
	for name, row := range map[string]struct {
		file    []byte
		want    string
		damaged int
	}{
		"cut at the end":     {whole(frames[0], frames[1], frames[2][:50]), "D0 D1", 1},
		"cut, then more":     {whole(frames[0], frames[1][:len(frames[1])-1], frames[2], frames[3]), "D0 D2 D3", 1},
		"altered":            {whole(frames[0], altered, frames[2]), "D0 D2", 1},
		"too long by far":    {whole(frames[0], long, frames[2]), "D0 D2", 1},
		"nonsense in front":  {whole([]byte("\x00\x00\xb5\xb5\x00nonsense"), frames[2]), "D2", 1},
		"two places":         {whole(frames[0][:30], frames[1], altered, frames[3]), "D1 D3", 2},
		"nothing":            {nil, "", 0},
		"nothing but damage": {[]byte("\xb5\xb5\xb5\xb5\xb5"), "", 1},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dayOf(noon)+suffix), row.file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, damaged := all(t, time.Time{}, time.Time{}, dir)
		if ids(got) != row.want || damaged != row.damaged {
			t.Errorf("%s: got %s, %d damaged", name, ids(got), damaged)
		}
	}
}

func TestFind(t *testing.T) {
	k := keeper(t, Config{})
	k.Start()
	for i := range 50 {
		r := permitted(fmt.Sprint("D", i%25), noon.Add(time.Duration(i)*time.Hour))
		if i >= 25 {
			r.Kind = Review
		}
		k.Write(r)
	}
	k.Stop()
	got, err := Find("D3", noon.Add(3*time.Hour), k.cfg.Dir)
	if err != nil || len(got) != 2 || got[0].Kind != Login || got[1].Kind != Review || got[1].At.Sub(got[0].At) != 25*time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Find("D99", noon, k.cfg.Dir); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
