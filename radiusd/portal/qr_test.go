package portal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"
)

// The drawing has the code's modules and no others, and a quiet zone around them.
func TestDrawQR(t *testing.T) {
	const url = "otpauth://totp/Example:alice?secret=" + fakeSecret + "&issuer=Example"
	got, err := drawQR(url)
	if err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(url, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	n := code.Bounds().Dx()
	want := map[string]bool{}
	for y := range n {
		for x := range n {
			if r, _, _, _ := code.At(x, y).RGBA(); r == 0 {
				want[fmt.Sprint(x+quiet, " ", y+quiet)] = true
			}
		}
	}
	_, dark, _ := strings.Cut(string(got), `fill="#000000"`)
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1`).FindAllStringSubmatch(dark, -1) {
		x, _ := strconv.Atoi(m[1])
		run, _ := strconv.Atoi(m[3])
		for i := range run {
			at := fmt.Sprint(x+i, " ", m[2])
			if !want[at] {
				t.Fatalf("a module too many at %s", at)
			}
			delete(want, at)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d modules are missing", len(want))
	}
	if size := fmt.Sprintf(`viewBox="0 0 %d %d"`, n+2*quiet, n+2*quiet); !strings.Contains(string(got), size) {
		t.Errorf("no %s", size)
	}
	if strings.Contains(string(got), "alice") || strings.Contains(string(got), fakeSecret) {
		t.Error("the secret stands in the drawing as text")
	}
	if _, err := drawQR(strings.Repeat("x", 5000)); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("too long: %v", err)
	}
}
