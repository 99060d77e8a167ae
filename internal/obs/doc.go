// Package obs is how a process shows what it does: its logger, the HTTP listener
// with /metrics and /healthz, and its version. It follows Prometheus' exposition
// format and no RFC.
//
// Left out: tracing, and profiles, which would need a listener nobody else reaches.
package obs
