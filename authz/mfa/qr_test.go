package mfa

import (
	"image/color"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/boombuler/barcode/qr"
)

// The drawing is read back, module by module.
func TestDrawQR(t *testing.T) {
	const url = "otpauth://totp/Postern:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Postern"
	code, err := qr.Encode(url, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	n := code.Bounds().Dx()
	drawn, err := DrawQR(url, false)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]bool // light
	for line := range strings.Lines(drawn) {
		var upper, lower []bool
		for _, r := range strings.TrimSuffix(line, "\n") {
			upper = append(upper, r == '▀' || r == '█')
			lower = append(lower, r == '▄' || r == '█')
		}
		rows = append(rows, upper, lower)
	}
	if len(rows) < n+2*quiet {
		t.Fatalf("%d rows of %d modules", len(rows), n)
	}
	for y, row := range rows {
		if len(row) != n+2*quiet {
			t.Fatalf("row %d has %d modules", y, len(row))
		}
		for x, light := range row {
			inside := x >= quiet && x < n+quiet && y >= quiet && y < n+quiet
			if want := !inside || code.At(x-quiet, y-quiet) != color.Black; light != want {
				t.Fatalf("module %d,%d: light %v", x, y, light)
			}
		}
	}
	coloured, err := DrawQR(url, true)
	if err != nil || !utf8.ValidString(coloured) || strings.Count(coloured, "\x1b[0m\n") != len(rows)/2 {
		t.Errorf("coloured: %v", err)
	}
	if _, err := DrawQR(strings.Repeat("x", 5000), false); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("too long: %v", err)
	}
}
