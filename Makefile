# Needed: Go, make and, for all that runs sandboxes, root.

PREFIX    ?= /usr/local
DESTDIR   ?=
UNITDIR   ?= /etc/systemd/system
COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
GO        ?= go
GOFMT     := $(shell $(GO) env GOROOT)/bin/gofmt
# How many system tests run side by side: they wait more than they compute, but
# starve each other on two cores beyond this.
PARALLEL  ?= 4
STORM     ?= 5m
DAMAGE    ?= 10000
FUZZTIME  ?= 1m
STORMFUZZ ?= 1h
FUZZERS   ?= 2
PAUSE     ?= 90s

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null)
VERSIONS := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)
LDFLAGS := -s -w $(VERSIONS) -E=_rt0_sandboxer
# Away from the program that it shares a process with: internal/entry.
CLIENT_LDFLAGS := -s -w $(VERSIONS) -T 0x40001000
STATIC  := CGO_ENABLED=0 $(GO) build

# The last commit that was released before this one: a daemon of today takes over
# from it, and it from one of today. Move it on with each release.
RELEASED := 90e886339f62958f4b686e1bf2509cf8cd685a23
OLD      := .cache/released/$(RELEASED)

# Pinned, and outside the daemon's own modules.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help
.PHONY: help build run test unit system released storm-gofer storm-pause storm-damage fuzz storm-fuzz gvisor-bump lint bench install uninstall clean fmt generate needs-race needs-tools

help: ## Show this list
	@echo "sandboxer keeps gVisor sandboxes as files declare them."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: generate ## Build bin/sandboxer, one static program, and the examples' workload
	@mkdir -p bin
	$(STATIC) -tags embedgofer,precompiled -ldflags '$(LDFLAGS)' -o .cache/sandboxer ./cmd/sandboxer
	$(STATIC) -tags client -ldflags '$(CLIENT_LDFLAGS)' -o .cache/sandboxer-client ./cmd/sandboxer
	@$(GO) run ./internal/entry/join .cache/sandboxer .cache/sandboxer-client bin/sandboxer
	$(STATIC) -ldflags '-s -w' -o bin/workload ./examples/workload

generate: ## Build the seccomp programs and the gofer that bin/sandboxer carries
	@mkdir -p .cache
	CGO_ENABLED=0 $(GO) run -ldflags '-s -w' ./internal/filters/gen internal/filters/programs.go
	$(STATIC) -tags precompiled -ldflags '-s -w' -o .cache/sandboxer-gofer ./internal/goferbin/sandboxer-gofer
	@gzip -9n <.cache/sandboxer-gofer >.cache/gofer.gz
	@cmp -s .cache/gofer.gz internal/goferbin/gofer.gz || cp .cache/gofer.gz internal/goferbin/gofer.gz

run: build ## Run the daemon on examples/manifests; Ctrl-C leaves nothing behind (root)
	@exec examples/run.sh

released: $(OLD)/sandboxer ## Build the release before this one, for the test of upgrades
	@echo $(CURDIR)/$<

# Its own modules, and so its own gVisor.
$(OLD)/sandboxer:
	@git cat-file -e $(RELEASED) 2>/dev/null || { \
		echo "the commit $(RELEASED) is not in this clone: git fetch --unshallow"; exit 1; }
	@rm -rf $(OLD) && mkdir -p $(OLD)/source
	@git archive -o $(OLD)/source.tar $(RELEASED) && tar -x -f $(OLD)/source.tar -C $(OLD)/source
	@cd $(OLD)/source && $(STATIC) -ldflags '-s -w' -o ../sandboxer.new ./cmd/sandboxer
	@rm -rf $(OLD)/source $(OLD)/source.tar && mv $(OLD)/sandboxer.new $@

test: unit system ## Run every test, on real gVisor (root)

# The race detector needs a C compiler.
needs-race:
	@command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ] || { \
		apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev; }

# Sentries, launchers and gofers are programs of their own there, built without
# the race detector: a sentry has to be linked statically.
unit: needs-race ## Run the tests of the packages, with the race detector (root)
	CGO_ENABLED=1 $(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v '^sandboxer/test$$')

# The root directory of examples/recipes, as docs/recipes.md says.
DEBIAN := .cache/debian

needs-tools:
	@command -v mmdebstrap >/dev/null && command -v umoci >/dev/null && command -v ssh-keygen >/dev/null && command -v mkfs.ext4 >/dev/null || { \
		apt-get update -q && apt-get install -qy --no-install-recommends mmdebstrap umoci openssh-client e2fsprogs; }

$(DEBIAN): | needs-tools
	@rm -rf $@.new && mkdir -p .cache
	mmdebstrap --variant=minbase --include=nginx-light,redis-server,postgresql,openssh-server,cron,python3 bookworm $@.new
	@mv $@.new $@

system: build released $(DEBIAN) ## Run the tests of the whole, twice: the second time with the resync alone (root)
	SANDBOXER_BIN=$(CURDIR)/bin/sandboxer CGO_ENABLED=0 $(GO) test -count=1 -timeout 15m -parallel $(PARALLEL) ./test
	SANDBOXER_BIN=$(CURDIR)/bin/sandboxer SANDBOXER_TEST_RESYNC_ONLY=1 CGO_ENABLED=0 \
		$(GO) test -count=1 -timeout 15m -parallel $(PARALLEL) ./test

# Not part of test: short forms of them are.
storm-gofer: build ## Kill gofers, keepers and daemons at random for STORM (5m) (root)
	SANDBOXER_BIN=$(CURDIR)/bin/sandboxer SANDBOXER_STORM=$(STORM) CGO_ENABLED=0 \
		$(GO) test -count=1 -timeout 2h -v -run '^TestGoferStorm$$' ./test

storm-damage: build ## Damage DAMAGE (10000) kept files under running sandboxes (root)
	SANDBOXER_BIN=$(CURDIR)/bin/sandboxer SANDBOXER_DAMAGE=$(DAMAGE) CGO_ENABLED=0 \
		$(GO) test -count=1 -timeout 6h -v -run '^TestDamage$$' ./test

# Go's fuzzer looks through the counters of all that it watches after each input,
# and go test would have it watch all of gVisor: so this project's packages alone.
# Of each new input it would look for the shortest form for a minute, and hardly do
# anything else.
# Each worker does one thing after another: by one thread it does half as much again.
fuzz: ## Fuzz each target for FUZZTIME (1m); what tests find is kept in testdata/fuzz
	@set -e; mkdir -p .cache/fuzz; for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		CGO_ENABLED=0 $(GO) test -c -gcflags=sandboxer/...=-d=libfuzzer -o .cache/fuzz/fuzz.test $$dir; \
		for target in $$(.cache/fuzz/fuzz.test -test.list '^Fuzz' | grep '^Fuzz'); do \
			echo "== $$dir $$target"; \
			(cd $$dir && GOMAXPROCS=1 GOGC=400 $(CURDIR)/.cache/fuzz/fuzz.test -test.run '^$$' -test.fuzz "^$$target$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzcachedir $(CURDIR)/.cache/fuzz/$$dir -test.fuzzminimizetime 20x -test.parallel $(FUZZERS)); \
		done; \
	done

storm-fuzz: ## Fuzz each target for STORMFUZZ (1h)
	@$(MAKE) fuzz FUZZTIME=$(STORMFUZZ)

storm-pause: build ## Pause, freeze and stop busy sandboxes for PAUSE (90s) (root)
	SANDBOXER_BIN=$(CURDIR)/bin/sandboxer SANDBOXER_PAUSE=$(PAUSE) CGO_ENABLED=0 \
		$(GO) test -count=1 -timeout 1h -v -run '^TestPausedWhileBusy$$' ./test

lint: ## Check format and code with go vet, staticcheck and golangci-lint
	@unformatted=$$($(GOFMT) -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')) && \
		[ -z "$$unformatted" ] || { echo "run make fmt; not formatted:"; echo "$$unformatted"; exit 1; }
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run $(STATICCHECK) ./...
	CGO_ENABLED=0 $(GO) run $(GOLANGCI) run ./...

fmt: ## Format the code
	$(GOFMT) -w $$(git ls-files '*.go')

gvisor-bump: ## Take VERSION of gVisor, run what it could break, show what changed (root)
	@$(if $(findstring command,$(origin VERSION)),MAKEFLAGS= .ci/gvisor-bump $(VERSION),$(error say which: make gvisor-bump VERSION=v0.0.0-…))

bench: build ## Measure against bare runsc and print a table (root)
	CGO_ENABLED=0 $(GO) run ./test/bench $(BENCHFLAGS)

install: build ## Install program, systemd unit and completion below PREFIX (/usr/local)
	install -D -m 0755 bin/sandboxer $(DESTDIR)$(PREFIX)/bin/sandboxer
	install -d -m 0755 $(DESTDIR)/etc/sandboxer.d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(COMPLETIONS)
	sed 's|@BINDIR@|$(PREFIX)/bin|' examples/systemd/sandboxer.service >$(DESTDIR)$(UNITDIR)/sandboxer.service
	bin/sandboxer completion bash >$(DESTDIR)$(COMPLETIONS)/sandboxer
	@echo "Start it with: systemctl daemon-reload && systemctl enable --now sandboxer"

uninstall: ## Remove what install put there; manifests and data stay
	rm -f $(DESTDIR)$(PREFIX)/bin/sandboxer $(DESTDIR)$(UNITDIR)/sandboxer.service $(DESTDIR)$(COMPLETIONS)/sandboxer

clean: ## Remove what was built
	rm -rf bin .cache .run internal/goferbin/gofer.gz internal/filters/programs.go
