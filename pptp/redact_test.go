package pptp

import "testing"

func TestRedact(t *testing.T) {
	for typed, want := range map[string]string{
		"":                           "",
		"alice":                      "alice",
		"alice+123456":               "alice",
		`CORP\alice+12345678`:        `CORP\alice`,
		"alice+123456@corp.example":  "alice@corp.example",
		"alice@corp.example+123456":  "alice@corp.example",
		"alice#123456":               "alice",
		"alice+12345":                "alice+12345",
		"alice+123456789":            "alice+123456789",
		"alice+123456x":              "alice+123456x",
		"a+b+123456":                 "a+b",
		"host/pc1.corp.example":      "host/pc1.corp.example",
		"++123456":                   "+",
		"alice+123456+654321":        "alice",
		"alice+123456@x+654321":      "alice@x",
		"plc=0123456@plant=01234567": "plc@plant",
		"\xff+123456":                "\xff",
	} {
		if got := redact(typed); got != want {
			t.Errorf("%q becomes %q, want %q", typed, got, want)
		}
	}
}
