package mfa

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quiet is the light border a reader needs (ISO/IEC 18004 §6.3.8 wants 4 modules).
const quiet = 4

// DrawQR draws text as a QR code of half blocks, two modules a character.
// With colour it sets black on white itself; without, light modules are drawn,
// which is right on a dark terminal and which most readers take inverted too.
func DrawQR(text string, colour bool) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw QR code: text of %d octets does not fit", len(text)) // err could show it
	}
	n := code.Bounds().Dx()
	light := func(x, y int) bool {
		if x < 0 || y < 0 || x >= n || y >= n {
			return true
		}
		return code.At(x, y) != color.Black
	}
	blocks := [4]string{" ", "▄", "▀", "█"} // upper, lower light
	before, after := "", "\n"
	if colour {
		before, after = "\x1b[38;5;231;48;5;16m", "\x1b[0m\n" // white on black
	}
	var b strings.Builder
	for y := -quiet; y < n+quiet; y += 2 {
		b.WriteString(before)
		for x := -quiet; x < n+quiet; x++ {
			i := 0
			if light(x, y) {
				i = 2
			}
			if light(x, y+1) {
				i++
			}
			b.WriteString(blocks[i])
		}
		b.WriteString(after)
	}
	return b.String(), nil
}
