package control

import "testing"

func TestEcho(t *testing.T) { golden(t, "echo.txt") }

func TestEchoResult(t *testing.T) { enum(t, EchoError, "unknown", "ok", "general error") }
