package radius

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretDoesNotPrint(t *testing.T) {
	s := NewSecret("hunter2!")
	type holder struct {
		Public  Secret
		private Secret
		list    []Secret
	}
	h := holder{s, s, []Secret{s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%t"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, &s, h)
	}
	fmt.Fprintln(&out, s, &s, h, []Secret{s}, map[string]Secret{"k": s})
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "h", h)
	j, err := json.Marshal(map[string]any{"s": s, "h": h})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	for _, form := range []string{"hunter2", "68756e74657232", "68756E74657232", "104 117 110", "104,117", "aHVudGVyMi"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret is in the output as %q", form)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that there is a secret")
	}
	if string(s.Bytes()) != "hunter2!" || s.IsZero() || !(Secret{}).IsZero() || !NewSecret("").IsZero() {
		t.Error("a secret is not what was put in")
	}
	b := []byte("copy me")
	c := NewSecret(b)
	b[0] = 'X'
	if string(c.Bytes()) != "copy me" {
		t.Error("the secret shares its maker's array")
	}
}
