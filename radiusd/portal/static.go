package portal

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var staticFiles embed.FS

// staticPath is before the name of a file, which has its own sum in it: what never
// changes may be kept for ever.
const staticPath = "/static/"

type staticFile struct {
	kind string
	body []byte
}

// statics are the files by their addresses, staticURLs the addresses by their names.
var statics, staticURLs = readStatics()

var kinds = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func readStatics() (map[string]staticFile, map[string]string) {
	files, urls := make(map[string]staticFile), make(map[string]string)
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic(err) // they are ours
	}
	for _, e := range entries {
		body, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(e.Name())
		url := staticPath + strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:6]) + ext
		files[url], urls[e.Name()] = staticFile{kinds[ext], body}, url
	}
	return files, urls
}

// staticURL is the address of a file; one that is not there is a fault that any test
// finds.
func staticURL(name string) string {
	url := staticURLs[name]
	if url == "" {
		panic("portal: no file " + name)
	}
	return url
}

// static serves a file.
func (v *visitor) static() {
	f, ok := statics[v.r.URL.Path]
	if !ok {
		v.route = &noRoute
		v.refuse(refusedPath)
		return
	}
	v.w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	v.send(http.StatusOK, f.kind, f.body)
}

func (v *visitor) send(status int, kind string, body []byte) {
	v.w.Header().Set("Content-Type", kind)
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(body)
	}
}

// robots keeps searchers out: there is nothing for them here.
func (v *visitor) robots() {
	v.send(http.StatusOK, "text/plain; charset=utf-8", []byte("User-agent: *\nDisallow: /\n"))
}

// favicon is asked for by browsers that do not read the page's link.
func (v *visitor) favicon() { v.redirect(staticURL("icon.svg")) }
