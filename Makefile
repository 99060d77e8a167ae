# `make test` is what CI runs (.ci/run); `make check` is its first part.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
FUZZTIME ?= 3m
BENCH ?= .
GOTEST := go run ./internal/housekeeping/gotest

.PHONY: agent build check fmt vet lint rules test versions unit integration lab fuzz scale bench soak

build:
	go build -trimpath -o bin/ ./cmd/...

# The agent for the computers it runs on: static, one file each.
AGENTS := linux/amd64 linux/arm64 windows/amd64 windows/arm64

agent:
	@for on in $(AGENTS); do os=$${on%/*} arch=$${on#*/} suffix=; [ $$os = windows ] && suffix=.exe; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags '-s -w' -o bin/postern-agent-$$os-$$arch$$suffix ./cmd/postern-agent && \
	  ls -l bin/postern-agent-$$os-$$arch$$suffix || exit 1; \
	done

# Everything that can be said about the code without running it.
check: fmt vet lint rules

fmt:
	@bad=$$(git ls-files -co --exclude-standard '*.go' | xargs -r ls 2>/dev/null | xargs -r gofmt -l); \
	[ -z "$$bad" ] || { echo "gofmt would change:"; echo "$$bad"; exit 1; }

vet:
	go vet ./...
	go vet -tags integration ./...
	GOOS=windows go vet ./cmd/postern-agent/...

lint:
	go tool golangci-lint run

# -count=1: these tests ask the go command, whose answers are not cached as inputs.
rules:
	go test -count=1 ./internal/housekeeping

# The whole suite on a machine that may be bare: nothing may skip.
test: export POSTERN_TEST_REQUIRE := 1
test:
	bash integration/apt.sh
	@$(MAKE) --no-print-directory versions
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory agent
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration

versions:
	@go version; gcc --version | sed -n 1p; redis-server --version; tshark --version 2>/dev/null | sed -n 1p; \
	radclient -v 2>&1 | sed -n 1p; iperf3 --version | sed -n 1p; ip -V; uname -sr; \
	samba --version; slapd -VV 2>&1 | sed -n 1p; freeradius -v | sed -n 1p; chromium --version 2>/dev/null; \
	keepalived --version 2>&1 | sed -n 1p; nsd -v 2>&1 | sed -n 1p

# The race detector slows arithmetic forty times, and these packages share nothing
# between goroutines.
NORACE := postern/internal/mschap postern/pptp/mppe

unit:
	$(GOTEST) -race -timeout 15m $$(go list ./... | grep -vxF $(addprefix -e ,$(NORACE)))
	$(GOTEST) -timeout 15m $(NORACE)

# Root, a TUN device and network namespaces. -p 1: two guests at a time is what two
# cores bear.
integration:
	$(GOTEST) -tags integration -count=1 -p 1 -timeout 30m ./integration/... ./cmd/internal/faults

# Faults while people log in, for as long as FOR says: make soak FOR=8h
FOR ?= 10m
soak:
	go test -tags integration -count=1 -timeout 0 -v -run TestFaults ./cmd/internal/faults -args -for=$(FOR)

lab:
	go run ./cmd/postern lab

fuzz:
	@grep -rlE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' . | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
	    echo "== $$(dirname "$$file") $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null || exit 1; \
	  done; \
	done

# What logins and sessions cost, with 1, 2 and 4 services: a table, in about five minutes.
scale: export POSTERN_SCALE := 1
scale:
	go test -count=1 -v -timeout 30m -run '^TestScale$$' ./cmd/internal/scale

bench:
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...
