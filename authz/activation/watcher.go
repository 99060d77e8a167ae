package activation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Found is what lies where a policy is looked for.
type Found struct {
	Bundle Bundle
	Err    error  // why there is none
	ID     string // of the content, signature included; of the error
}

// Look collects what lies there.
func Look(name string) Found {
	b, err := Collect(name, ReadFile)
	f := Found{Bundle: b, Err: err}
	h := sha256.New()
	if err != nil {
		h.Write([]byte("error " + err.Error()))
	} else {
		h.Write(b.Manifest())
		h.Write([]byte{0})
		h.Write(b.Signature)
	}
	f.ID = hex.EncodeToString(h.Sum(nil))
	return f
}

// Watcher looks for a changed policy. What counts is content: files that are touched, or
// replaced by the same, are no change. It waits until two looks agree, so that what is
// being written is not taken for what was meant.
type Watcher struct {
	Every time.Duration
	Look  func() Found
	// Act does what is to be done about a content, and says whether it is done with; if
	// not, it is asked again at the next look.
	Act func(ctx context.Context, f Found) (done bool)
	// Known is the content that is done with from the beginning; "": none.
	Known string
}

// Run looks until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	ticker := time.NewTicker(w.Every)
	defer ticker.Stop()
	last, done := w.Known, w.Known
	for {
		f := w.Look()
		switch {
		case f.ID != last:
			last = f.ID
		case f.ID != done && w.Act(ctx, f):
			done = f.ID
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
