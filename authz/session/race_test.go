//go:build race

package session_test

func init() { measuredUsers = 1000 } // the race detector makes each dear
