// Package chromium drives Debian's Chromium in tests, headless, over chromedp: the
// portal as its users see it, on a phone (390 x 844) and on a desk (1280 x 900). It
// needs what integration/apt.sh installs; as root Chromium runs without its sandbox.
//
// A Browser has a profile of its own and ends with its test, at the latest with the
// test's process. It can live in a network namespace: it is spoken to over a pipe,
// not over the network. Whatever a page writes to the console as an error, a breach of
// its own Content-Security-Policy above all, fails the test.
//
// Shot takes pictures at both widths and looks for what a machine can find wrong on
// them (audit.js). They stay in the directory that POSTERN_TEST_SHOTS names, for
// people to look at the rest.
//
// Traps it avoids: Web Authentication is off on pages with certificate errors, so a
// certificate is trusted by its key (Options.Trust) and not by ignoring errors; plain
// http is tried as https first unless that is switched off.
package chromium
