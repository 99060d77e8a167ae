package portal

import (
	"fmt"
	"html/template"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quiet is the light border a reader needs (ISO/IEC 18004 §6.3.8 wants 4 modules).
const quiet = 4

// drawQR draws text as a QR code in SVG: dark on light whatever the page's colours are,
// since not every reader takes it the other way round. It stands in the page itself, so
// that the secret has no address of its own.
func drawQR(text string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw QR code: text of %d octets does not fit", len(text)) // err could show it
	}
	n := code.Bounds().Dx()
	var b strings.Builder
	size := n + 2*quiet
	fmt.Fprintf(&b, `<svg class="qr" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="qr-name" shape-rendering="crispEdges">`,
		size, size, 4*size, 4*size)
	fmt.Fprintf(&b, `<path fill="#ffffff" d="M0 0h%dv%dH0z"/><path fill="#000000" d="`, size, size)
	for y := range n {
		for x := 0; x < n; x++ {
			run := 0
			for x+run < n && code.At(x+run, y) == color.Black {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()), nil //nolint:gosec // numbers only
}
