// Package config reads the configuration of the node, of the service and of the
// operator's tool. Reading is strict: unknown keys, wrong types and bad values
// stop start-up, and all of them are reported at once, each with file, line and
// column, the line itself with a caret, and what was expected.
//
//	gateway.yaml:12:3: unknown key "lisen", did you mean "listen"?
//	  12 |   lisen: 0.0.0.0:1723
//	     |   ^
//	     expected one of: allowed_sources, auth, inside, listen, …
//
// The structs say it all: `yaml` names the key, `default` is what an absent key
// means (written as in the file, lists with commas), `required` and `min`/`max`
// are enforced by the decoder, and a struct's check method compares its keys
// with each other. A new key may always be absent.
//
// Secrets are never values here: a key ending in _file names a file, one ending
// in _env an environment variable. Relative file names count from the directory
// of the configuration file.
//
// Left out of YAML on purpose: anchors, aliases, merge keys, tags and several
// documents, because what a line means should be readable on that line.
package config
