# SPDX-License-Identifier: MIT
#
# The table of contents: `make help` prints it. Everything made goes under $(BUILD), one directory a variant:
# build/ by default, build/clang with CC=clang, build/asan and build/tsan with the sanitizers.

ifeq ($(origin CC),default)
CC := gcc
endif
VARIANT := $(filter-out gcc cc,$(notdir $(CC)))
ifneq ($(SANITIZE),)
VARIANT := $(if $(VARIANT),$(VARIANT)-)$(if $(findstring thread,$(SANITIZE)),tsan,asan)
endif
BUILD ?= build$(if $(VARIANT),/$(VARIANT))
PREFIX ?= /usr/local
# Below /usr, Debian's libraries lie in a folder of their architecture's.
MULTIARCH := $(if $(filter /usr,$(PREFIX)),$(shell $(CC) -print-multiarch 2>/dev/null))
LIBDIR ?= $(PREFIX)/lib$(MULTIARCH:%=/%)
UNITDIR ?= $(PREFIX)/lib/systemd/system
VERSION := $(shell sed -n 's/^\#define RC_VERSION "\(.*\)"/\1/p' engine/ringcast.h)
# Raised when a program built before can no longer run: tests/abi/README.md says what that is.
SOVERSION := 1

# What a packager may replace (CFLAGS, CXXFLAGS, LDFLAGS), and what the code relies on.
CXXFLAGS ?= $(CFLAGS)
CFLAGS ?= -O2 -g $(if $(SANITIZE),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
LDFLAGS ?= -Wl,-z,relro,-z,now
RC_CFLAGS := -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -fno-omit-frame-pointer \
	-fvisibility=hidden -fno-semantic-interposition -fPIC -pthread
RC_LDFLAGS := -pthread -Wl,--as-needed
ifneq ($(SANITIZE),)
RC_CFLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -DRC_CHECK_EACH
RC_LDFLAGS += -fsanitize=$(SANITIZE)
endif
# C++ that is linked as C is: without its library.
RC_CXXFLAGS := -std=c++17 -fno-exceptions -fno-rtti $(filter-out -std=%,$(RC_CFLAGS))
# The rooms and whom each may know: the programs see the public header, and nothing behind it.
INCLUDE_tls := -iquote engine
INCLUDE_uring := -iquote engine -iquote tls
INCLUDE_tools := -iquote tools -I$(BUILD)/include
INCLUDE_benches := -iquote engine -iquote tls -iquote uring -iquote tools
INCLUDE_tests := $(INCLUDE_benches)
LIBS := -luring -lssl -lcrypto -lz
# Of the engines' libraries those whose header is here, as tools/backplane/built.h asks too. It is looked for when it is
# linked, since the first step of a build may have installed it.
has = $(shell echo '\#include <$(1)>' | $(CC) $(CPPFLAGS) -E -x c - >/dev/null 2>&1 && echo $(2))
TOOL_LIBS = -lm -ljansson -linih -lsystemd -lcurl -lmsgpackc $(call has,hiredis/hiredis.h,-lhiredis) $(call has,nats/nats.h,-lnats) \
	$(call has,amqp.h,-lrabbitmq) $(call has,librdkafka/rdkafka.h,-lrdkafka)

# What an embedder sees. Everything beside ringcast.h includes it, but for the two that are for
# other processes: ringcast_producer.h, and ringcast_record.h, which that includes.
HEADERS := engine/ringcast.h $(wildcard engine/ringcast_*.h) uring/ringcast_producer.h
WRAPPER := engine/ringcast.hpp
PRODUCER_HEADERS := engine/ringcast_record.h uring/ringcast_producer.h
INCLUDED := $(addprefix $(BUILD)/include/,$(notdir $(HEADERS)))
LIBRARY := $(BUILD)/libringcast.a
SHARED := $(BUILD)/libringcast.so.$(VERSION)
PROGRAM := $(BUILD)/ringcast
objects = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
LIBRARY_OBJECTS := $(call objects,$(wildcard engine/*.c tls/*.c uring/*.c))
CHECKED_OBJECTS := $(if $(SANITIZE),,$(patsubst %.c,$(BUILD)/obj/checked/%.o,$(wildcard engine/*.c)))
EXAMPLES := $(patsubst tools/examples/%.c,$(BUILD)/examples/%,$(wildcard tools/examples/*.c))
TOOL_OBJECTS := $(call objects,$(filter-out tools/examples/%,$(wildcard tools/*.c tools/*/*.c tools/*/*.cpp)))
UNIT_TESTS := $(if $(findstring thread,$(SANITIZE)),,$(patsubst tests/unit/%.c,$(BUILD)/tests/unit_%,$(wildcard tests/unit/*.c)))
# Programs without a test framework, for what the thread sanitizer is to see.
HOSTILE := $(BUILD)/tests/backplane_hostile
HOSTILE_OBJECTS := $(call objects,$(wildcard tests/backplane/*.c) tools/lib/text.c $(addprefix tools/backplane/,arrival.c at_once.c bridge.c follower.c jobs.c map.c node.c outbox.c packet.c plain.c presence.c publisher.c report.c state.c url.c))
THREAD_TESTS := $(patsubst tests/threads/%.c,$(BUILD)/tests/threads_%,$(wildcard tests/threads/*.c))
FUZZ_TARGETS := $(filter-out run,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
FUZZ_TESTS := $(if $(findstring thread,$(SANITIZE)),,$(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz_%))
# The simulator: the library without what touches the kernel, in a build of its own with small bounds, under one main.
SIM_SOURCES := $(filter-out $(wildcard uring/ring*.c) uring/slots.c uring/listen.c uring/probe.c uring/probe_send.c uring/names.c,$(wildcard engine/*.c tls/*.c uring/*.c)) $(wildcard tests/sim/*.c)
SIM_OBJECTS := $(patsubst %.c,$(BUILD)/obj/sim/%.o,$(SIM_SOURCES))
SIM_WRAPPED := malloc calloc realloc free strdup mmap clock_gettime nanosleep eventfd write close dup \
	getrandom pthread_mutex_lock pthread_mutex_trylock pthread_mutex_unlock
SIM_TESTS := $(if $(findstring thread,$(SANITIZE)),,tests/sim/runs.sh $(if $(SANITIZE),,tests/sim/defects.sh))
# The program, whose allocations fail as a test says.
STARVED := $(BUILD)/tests/ringcast_starved
# A program with an event loop of its own.
LOOP := $(BUILD)/tests/loop
# An engine of a backplane by itself, and a cluster of Kafka, where there is the library.
ENGINE_PEERS := $(BUILD)/tests/engine_peer $(BUILD)/tests/kafka_mock
# Producers: those that a reader is to copy from, and one for the tests.
PRODUCERS := $(BUILD)/examples/producer/quotes $(BUILD)/examples/producer/quotes_cpp $(BUILD)/tests/producer_peer
STARVED_WRAPPED := malloc calloc realloc strdup strndup
BENCHES := $(patsubst benches/%.c,$(BUILD)/benches/%,$(wildcard benches/*.c))
# What the shells complete, as each of them looks for it.
COMPLETIONS := $(BUILD)/completions/ringcast
BASH_COMPLETIONS := share/bash-completion/completions
ZSH_COMPLETIONS := share/zsh/site-functions
FISH_COMPLETIONS := share/fish/vendor_completions.d
WEB := $(BUILD)/tools/web
# The client as npm wants it, and as it is installed.
PACKAGE_BUILT := ringcast.js ringcast.cjs ringcast.min.js ringcast.min.mjs
PACKAGE_FILES := package.json react.js react.d.ts ringcast.d.ts ringcast.min.d.mts
PACKAGE := $(addprefix $(WEB)/,$(PACKAGE_BUILT)) $(addprefix tools/web/,$(PACKAGE_FILES))
READY := $(BUILD)/setup-build.done
READY_TEST := $(BUILD)/setup-test.done
READY_EXAMPLES := $(BUILD)/setup-examples.done
READY_INSTALL := $(BUILD)/setup-install.done
READY_DOCS := $(BUILD)/setup-docs.done

# As many jobs as processors, unless the caller chose.
ifeq ($(MAKELEVEL)$(findstring j,$(firstword -$(MAKEFLAGS))),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
.DELETE_ON_ERROR:
.PHONY: all run run-cluster examples test test-epoll test-asan test-tsan test-vm lint abi-freeze soak soak-backplane coverage fuzz sim benches bench-kernels bench-tls-memory bench-publish bench-wake bench-producer bench-backplane bench-topics bench-feeds bench-peers bench-latency million flame docs install uninstall dist deb image completions test-deb clean help fmt npm types FORCE

all: $(PROGRAM) $(LIBRARY) $(if $(SANITIZE),,$(SHARED)) ## the program, the static and the shared library (default)

run: $(PROGRAM) ## the server with a demonstration feed on 127.0.0.1:8080 (ARGS="--relay ..." adds flags)
	@$(PROGRAM) serve --listen 127.0.0.1:8080 --demo $(ARGS)

run-cluster: $(PROGRAM) ## a Redis, three nodes of `ringcast app` on it, and HAProxy before them, until Ctrl-C (ARGS="--kill --nodes 5")
	@python3 -B tools/package/cluster.py $(PROGRAM) $(ARGS)

examples: $(EXAMPLES) ## the programs of tools/examples, in $(BUILD)/examples: what to copy from when you embed the library

test: all $(EXAMPLES) $(UNIT_TESTS) $(THREAD_TESTS) $(FUZZ_TESTS) $(if $(SIM_TESTS),$(BUILD)/sim) $(STARVED) $(LOOP) $(ENGINE_PEERS) $(HOSTILE) $(PRODUCERS) $(if $(SANITIZE),,$(BENCHES)) $(READY_TEST) ## every test (ONLY=word: those whose name holds the word)
	@CC='$(CC)' SANITIZE='$(or $(SANITIZE),$(INSTRUMENTED))' ONLY='$(ONLY)' sh tests/run.sh $(BUILD) $(UNIT_TESTS) $(THREAD_TESTS) $(FUZZ_TESTS) $(SIM_TESTS) \
		$(if $(SANITIZE),,tests/benches.sh tests/cross.sh)

test-epoll: all $(EXAMPLES) $(UNIT_TESTS) $(STARVED) $(LOOP) $(ENGINE_PEERS) $(PRODUCERS) $(READY_TEST) ## the tests that need a ring, all of them on the one on epoll (of the others `make test` runs a part there; ONLY=word)
	@RC_RING=epoll CC='$(CC)' SANITIZE='$(SANITIZE)' ONLY='$(ONLY)' sh tests/run.sh $(BUILD) \
		$$(grep -l rc_server_new tests/unit/*.c | sed 's|tests/unit/\(.*\)\.c|$(BUILD)/tests/unit_\1|')

test-asan: ## the same tests, built with the address and undefined behaviour sanitizers
	@$(MAKE) --no-print-directory SANITIZE=address,undefined test

test-tsan: ## the live tests and tests/threads, built with the thread sanitizer (the unit tests' Criterion does not work with it)
	@$(MAKE) --no-print-directory SANITIZE=thread test

fuzz: ## one fuzzer for a while, by clang's libFuzzer: TARGET=session TIME=60 (no TARGET: each in turn)
	+@sh tests/fuzz.sh $(BUILD) $(or $(TIME),60) $(or $(TARGET),$(FUZZ_TARGETS))

sim: $(BUILD)/sim ## the simulator: SEEDS=100000 runs on a hostile ring, FROM=1
	@$(BUILD)/sim --seeds $(or $(SEEDS),10000) --from $(or $(FROM),1)

lint: all ## format, structure (who uses whom), clang-tidy, cppcheck, what programs built before rely on, hardening
	@$(foreach room,tls uring tools tests,INCLUDE_$(room)='$(INCLUDE_$(room))') sh tests/lint.sh $(BUILD)

abi-freeze: all ## from now on `make lint` holds the library to what programs can rely on today: tests/abi/README.md
	@sh tools/setup.sh lint && CC='$(CC)' /usr/bin/python3 -B tests/abi/check.py $(BUILD) --freeze

test-vm: all $(LOOP) ## the live tests and the systemd units on Linux 6.1, or with KERNEL=5.10 on Debian 11's, in qemu (ONLY=word)
	@ONLY='$(ONLY)' KERNEL='$(KERNEL)' sh tests/vm/run.sh $(BUILD)

soak: all ## churn, storms, floods, readers that do not read; attacks around honest users; books under hostile readers; a thousand users, also through nginx, TIME=60 seconds each
	@RC_SOAK=$(or $(TIME),60) /usr/bin/python3 -B tests/soak/test_soak.py $(BUILD)
	@RC_SOAK=$(or $(TIME),60) /usr/bin/python3 -B tests/soak/test_hostile_mix.py $(BUILD)
	@RC_SOAK=$(or $(TIME),60) /usr/bin/python3 -B tests/soak/test_book.py $(BUILD)
	@/usr/bin/python3 -B tests/live/test_app_clients.py $(BUILD) --only=thousand --seconds=$(or $(TIME),60)

soak-backplane: all $(ENGINE_PEERS) ## three nodes on ENGINE=redis, sentinel, nats, amqp or kafka, CLIENTS=1000, MESSAGES=200000 in SECONDS=120, and all goes wrong
	@ENGINE='$(ENGINE)' CLIENTS='$(CLIENTS)' MESSAGES='$(MESSAGES)' SECONDS='$(SECONDS)' /usr/bin/python3 -B tests/soak/test_backplane.py $(BUILD)

coverage: ## the lines of engine, tls and uring that the whole suite runs
	+@sh tests/coverage.sh $(BUILD)

benches: $(BENCHES) ## the benchmarks, built but not run

bench-kernels: $(BUILD)/benches/kernels ## unmasking and UTF-8, each kernel against the scalar one
	@$(BUILD)/benches/kernels

bench-tls-memory: $(BUILD)/benches/tls_memory ## what an idle TLS connection costs, block by block
	@cd $(BUILD) && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
		-keyout bench.key -out bench.pem 2>/dev/null && benches/tls_memory bench.pem bench.key

bench-publish: $(BUILD)/benches/publish ## publishing in each way, by 1 to 8 threads, to p99.99, beside a ring under a mutex (ARGS="--rounds 9")
	@$(BUILD)/benches/publish $(ARGS)

bench-producer: $(BUILD)/benches/producer ## publishing from a process of its own: its cost, and how long to the first send (ARGS="--size 128 --sleeps")
	@$(BUILD)/benches/producer $(ARGS)

bench-backplane: $(BUILD)/benches/backplane ## what a backplane on Redis carries, and how long a message takes, beside redis-benchmark and hiredis
	@$(BUILD)/benches/backplane $(ARGS)

bench-wake: $(BUILD)/benches/wake ## what waking a sleeping worker costs whoever publishes, by each way the kernel has
	@$(BUILD)/benches/wake

bench-topics: all $(BUILD)/benches/topics ## many topics, published from the server's process, beside Bun (QUICK=1, ONLY=each,twenty)
	@python3 -B benches/topics.py --build $(BUILD) $(if $(QUICK),--quick) --only='$(ONLY)' $(ARGS)

bench-feeds: $(BUILD)/benches/feeds ## keyed feeds beside plain messages of the same bytes: readers that join, the form json (ARGS="--rounds 9")
	@$(BUILD)/benches/feeds $(ARGS)

bench-peers: all $(BUILD)/benches/floor ## ringcast, the kernel's floor and other servers side by side (QUICK=1, ONLY=bun,fan)
	@python3 -B benches/peers/run.py --build $(BUILD) $(if $(QUICK),--quick) --only='$(ONLY)' $(ARGS)

bench-app: all $(BUILD)/benches/floor ## what a publish over a kept HTTP connection, and a message in batches of 100, take of `ringcast app` (QUICK=1)
	@python3 -B benches/app.py --build $(BUILD) $(if $(QUICK),--quick) $(ARGS)

bench-latency: all $(BUILD)/benches/settings ## the settings of ringcast-latency(7), then open loop against the peers (QUICK=1, ONLY=settings, ONLY=bun)
	@$(BUILD)/benches/settings $(if $(QUICK),--tiny)
	@[ '$(ONLY)' = settings ] || python3 -B benches/latency.py --build $(BUILD) $(if $(QUICK),--quick) --only='$(ONLY)' $(ARGS)

million: all ## a million connections on this machine and broadcasts to all (N=100000; ARGS=--growth: 1k, 10k ... N)
	@python3 -B benches/million.py $(or $(N),1000000) --program $(BUILD)/ringcast --out $(BUILD)/million $(ARGS)

flame: ## a flame graph (SVG) of a running server: PID=123 TIME=10 OUT=flame.svg
	@sh tools/perf/flame.sh $(or $(PID),$$(pidof -s ringcast)) $(or $(TIME),10) $(or $(OUT),flame.svg)

docs: $(READY_DOCS) ## the documentation as plain HTML, to be read without a network: $(BUILD)/docs/index.html
	$(call say,write $(BUILD)/docs)rm -rf $(BUILD)/docs && python3 -B tools/docs/build.py $(BUILD)/docs

# Programs look there by themselves in the system's own folders; elsewhere pkg-config has them told.
RPATH := $(if $(filter /lib /lib/% /usr/lib /usr/lib/% /usr/local/lib /usr/local/lib/%,$(LIBDIR)),,-Wl,-rpath,$${libdir} )

# What an operator reads, and what he copies from.
DOCUMENTS := $(addprefix tools/,app/DIALECT.md app/TUTORIALS.md backplane/PLAIN.md backplane/RUNNING.md package/CHANGELOG.md package/SECURITY.md)
SAMPLES := $(addprefix tools/package/,nginx.conf haproxy.cfg kubernetes.yaml container/seccomp.json)

install: all $(BUILD)/man3/ringcast.3 $(COMPLETIONS) $(WEB)/ringcast.cjs ## into $(DESTDIR)$(PREFIX) and $(LIBDIR): program, libraries, headers, pkg-config file, man pages, systemd units
	install -d $(addprefix $(DESTDIR),$(addprefix $(PREFIX)/,bin include $(addprefix share/man/,man1 man3 man7)) $(LIBDIR)/pkgconfig)
	install -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/ringcast
	install -m 644 $(HEADERS) $(WRAPPER) $(DESTDIR)$(PREFIX)/include
	install -m 644 $(LIBRARY) $(DESTDIR)$(LIBDIR)/libringcast.a
	install -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)/$(notdir $(SHARED))
	ln -sf $(notdir $(SHARED)) $(DESTDIR)$(LIBDIR)/libringcast.so.$(SOVERSION)
	ln -sf libringcast.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libringcast.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@RPATH@|$(RPATH)|' \
		-e 's|@VERSION@|$(VERSION)|' -e 's|@LIBS@|$(LIBS)|' ringcast.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/ringcast.pc
	install -m 644 tools/ringcast.1 $(DESTDIR)$(PREFIX)/share/man/man1/ringcast.1
	install -m 644 $(BUILD)/man3/*.3 $(DESTDIR)$(PREFIX)/share/man/man3
	install -m 644 tools/ringcast-latency.7 $(DESTDIR)$(PREFIX)/share/man/man7/ringcast-latency.7
	install -d $(DESTDIR)$(UNITDIR) $(addprefix $(DESTDIR)$(PREFIX)/,share/doc/ringcast/examples share/ringcast $(BASH_COMPLETIONS) $(ZSH_COMPLETIONS) $(FISH_COMPLETIONS))
	install -m 644 $(PACKAGE) $(DESTDIR)$(PREFIX)/share/ringcast
	install -m 644 tools/web/ringcast.d.ts $(DESTDIR)$(PREFIX)/share/ringcast/ringcast.d.cts
	sed -e 's|@PREFIX@|$(PREFIX)|' tools/systemd/ringcast.service >$(DESTDIR)$(UNITDIR)/ringcast.service
	install -m 644 tools/systemd/ringcast.socket $(DESTDIR)$(UNITDIR)/ringcast.socket
	install -m 644 $(COMPLETIONS) $(DESTDIR)$(PREFIX)/$(BASH_COMPLETIONS)/ringcast
	install -m 644 $(BUILD)/completions/_ringcast $(DESTDIR)$(PREFIX)/$(ZSH_COMPLETIONS)/_ringcast
	install -m 644 $(BUILD)/completions/ringcast.fish $(DESTDIR)$(PREFIX)/$(FISH_COMPLETIONS)/ringcast.fish
	install -m 644 tools/systemd/ringcast.conf $(DOCUMENTS) $(DESTDIR)$(PREFIX)/share/doc/ringcast
	install -m 644 $(SAMPLES) $(DESTDIR)$(PREFIX)/share/doc/ringcast/examples
	install -m 644 tools/package/grafana.json tools/package/alerts.yml $(DESTDIR)$(PREFIX)/share/ringcast
	@[ -n "$(DESTDIR)" ] || ldconfig 2>/dev/null || true

uninstall: ## removes what install put there
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,libringcast.a libringcast.so libringcast.so.$(SOVERSION) $(notdir $(SHARED)) \
		pkgconfig/ringcast.pc)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/ringcast $(addprefix include/,$(notdir $(HEADERS) $(WRAPPER))) share/man/man1/ringcast.1 share/man/man7/ringcast-latency.7 \
		$(addprefix share/ringcast/,$(notdir $(PACKAGE)) ringcast.d.cts) share/ringcast/grafana.json share/ringcast/alerts.yml share/doc/ringcast/ringcast.conf \
		$(BASH_COMPLETIONS)/ringcast $(ZSH_COMPLETIONS)/_ringcast $(FISH_COMPLETIONS)/ringcast.fish \
		$(addprefix share/doc/ringcast/,$(notdir $(DOCUMENTS)) $(addprefix examples/,$(notdir $(SAMPLES)))))
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,ringcast.service ringcast.socket)
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man3/,$(shell python3 tools/man3.py --list $(HEADERS)))

completions: $(COMPLETIONS) ## what bash, zsh and fish complete, from the program's own --help, in $(BUILD)/completions

npm: $(PACKAGE) ## the client as a package for npm, in $(BUILD)/npm: try `npm pack`, or `npm publish` it
	rm -rf $(BUILD)/npm && mkdir -p $(BUILD)/npm
	cp $(PACKAGE) tools/web/README.md LICENSE $(BUILD)/npm
	cp tools/web/ringcast.d.ts $(BUILD)/npm/ringcast.d.cts

types: $(WEB)/ringcast.js ## tools/web/ringcast.d.ts anew, of the client's comments, by npm's TypeScript
	@sh tools/web/types.sh $(WEB) build/node >$(BUILD)/ringcast.d.ts && mv $(BUILD)/ringcast.d.ts tools/web/ringcast.d.ts

dist: ## what was committed, as $(BUILD)/ringcast-VERSION.tar.gz: of the same commit always the same bytes
	@sh tools/package/dist.sh $(BUILD) $(VERSION)

deb: ## Debian packages of what was committed, by debhelper, in $(BUILD)/deb
	@sh tools/package/deb.sh $(BUILD) $(VERSION)

test-deb: deb ## installs these packages in a bare Debian 12 made by debootstrap, uses them, and removes them (root)
	@sh tools/setup.sh test-deb && /usr/bin/python3 -B tests/package/deb.py $(BUILD)

image: all ## a container image with the program and what it links, by podman, buildah or docker: IMAGE=ringcast
	@sh tools/package/container/image.sh $(BUILD) $(or $(IMAGE),ringcast)

clean: ## removes $(BUILD)
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

fmt: ## gives every file of C and C++ the project's format (clang-format 14)
	@sh tests/format.sh --write

# --------------------------------------------------------------------------------------------------------- the rules --

# One short line a step, or with V=1 the commands themselves.
say = @$(if $(V),set -x,echo '  $(1)');

# Once a build directory, and again when the script changed: what is missing is installed, or named.
$(READY): tools/setup.sh
	@mkdir -p $(@D)
	@CC='$(CC)' sh tools/setup.sh build && touch $@

$(READY_TEST): tools/setup.sh | $(READY)
	@CC='$(CC)' sh tools/setup.sh test && touch $@

$(READY_EXAMPLES): tools/setup.sh | $(READY)
	@CC='$(CC)' sh tools/setup.sh examples && touch $@

$(READY_INSTALL): tools/setup.sh | $(READY)
	@CC='$(CC)' sh tools/setup.sh install && touch $@

$(READY_DOCS): tools/setup.sh | $(READY)
	@CC='$(CC)' sh tools/setup.sh docs && touch $@

$(BUILD)/obj/%.o: %.c Makefile | $(READY)
	@mkdir -p $(@D)
	$(call say,compile $<)$(CC) $(RC_CFLAGS) $(INCLUDE_$(firstword $(subst /, ,$<))) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.cpp Makefile | $(READY)
	@mkdir -p $(@D)
	$(call say,compile $<)$(CC) -x c++ $(RC_CXXFLAGS) $(INCLUDE_$(firstword $(subst /, ,$<))) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c $< -o $@

# What was built, for --version. The file is touched only when it would say something else: then a commit costs one
# compilation. In a tarball the commit stands in a file, and liburing's version is in no header of 2.3.
$(BUILD)/include/build_version.h: FORCE | $(READY)
	@mkdir -p $(@D)
	@commit=$$(cat tools/package/commit); case $$commit in '$$Format'*) \
		commit=$$(git describe --always --abbrev=12 --exclude='*' --dirty=', and changes' 2>/dev/null || echo unknown) ;; esac; \
	uring=$$(sed -n 's/^Version: *//p' "$$(dirname "$$($(CC) -print-file-name=liburing.so)")/pkgconfig/liburing.pc" 2>/dev/null); \
	printf '#define RC_COMMIT "%s"\n#define RC_LIBURING "%s"\n' "$$commit" "$${uring:-of a version that nobody told}" >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/obj/tools/version.o: $(BUILD)/include/build_version.h

$(COMPLETIONS): tools/package/completions.py $(PROGRAM) | $(READY_INSTALL)
	$(call say,write $(@D))python3 -B tools/package/completions.py $(PROGRAM) $(@D)

$(TOOL_OBJECTS): | $(INCLUDED)

# The assembler includes these files, and no .d file lists them.
WEB_FILES := $(addprefix $(WEB)/,$(notdir $(wildcard tools/web/*.html tools/web/*.css) tools/web/book.js tools/web/charts.js tools/web/dashboard.js tools/web/nodes.js) ringcast.js ringcast.min.js ringcast.min.mjs)
$(BUILD)/obj/tools/app/web.o: $(wildcard tools/web/*.*) $(WEB_FILES:=.gz)
$(BUILD)/obj/tools/app/web.o: INCLUDE_tools += -I$(BUILD)

# The client as one file. Beside package.json, Node takes it for the ES module that it is.
$(BUILD)/tools/web/ringcast.js: tools/web/join.awk tools/web/package.json $(wildcard tools/web/client/*.js)
	@mkdir -p $(@D)
	@cp tools/web/package.json $(@D)
	$(call say,join $@)awk -f $< tools/web/client/ringcast.js >$@

$(WEB)/ringcast.min.js $(WEB)/ringcast.min.mjs $(WEB)/ringcast.cjs &: tools/web/small.sh $(wildcard tools/web/small/*.js) $(WEB)/ringcast.js | $(READY)
	$(call say,write $(WEB)/ringcast.min.js)sh $< $(WEB)

# Both make what every reader of gzip reads; one takes its time, and makes less of it.
COMPRESS = { command -v zopfli >/dev/null && zopfli -c $< || gzip -9nc $<; } >$@

$(WEB)/ringcast%.gz: $(WEB)/ringcast%
	@$(COMPRESS)

$(WEB)/%.gz: tools/web/%
	@mkdir -p $(@D)
	@$(COMPRESS)

$(BUILD)/include/%.h:
	@mkdir -p $(@D)
	@ln -sf $(abspath $(filter %/$*.h,$(HEADERS))) $@

$(call objects,$(wildcard tests/unit/*.c)): | $(READY_TEST)

$(LIBRARY): $(LIBRARY_OBJECTS)
	@rm -f $@
	$(call say,archive $@)ar rcs $@ $^

$(SHARED): $(LIBRARY_OBJECTS) uring/ringcast.map
	@rm -f $(BUILD)/libringcast.so.*
	$(call say,link $@)$(CC) -shared -Wl,-soname,libringcast.so.$(SOVERSION) -Wl,--version-script=uring/ringcast.map -Wl,-z,defs \
		$(RC_LDFLAGS) $(LDFLAGS) $(LIBRARY_OBJECTS) $(LIBS) -o $@

$(PROGRAM): $(TOOL_OBJECTS) $(LIBRARY)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) $(TOOL_LIBS) -o $@

$(STARVED): $(TOOL_OBJECTS) $(BUILD)/obj/tests/live/starve.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $(STARVED_WRAPPED:%=-Wl,--wrap=%) $^ $(LIBS) $(TOOL_LIBS) -o $@

$(LOOP): $(BUILD)/obj/tests/live/loop.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

$(BUILD)/tests/engine_peer: $(BUILD)/obj/tests/live/engine_peer.o $(BUILD)/tools.a $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) $(TOOL_LIBS) -o $@

# Without the library there is none, and the tests that want it skip.
$(BUILD)/tests/kafka_mock: tests/live/kafka_mock.c Makefile | $(READY)
	@mkdir -p $(@D)
	$(call say,link $@)rm -f $@; $(if $(call has,librdkafka/rdkafka.h,yes),$(CC) $(RC_CFLAGS) $(CPPFLAGS) $(CFLAGS) -pie $(RC_LDFLAGS) $(LDFLAGS) $< -lrdkafka -o $@,:)

# The manual's section 3 comes from the headers' comments.
$(BUILD)/man3/ringcast.3: tools/man3.py $(HEADERS) | $(READY_INSTALL)
	$(call say,write $(@D))rm -rf $(@D) && python3 -B tools/man3.py $(@D) $(HEADERS)

# An example sees what is installed, and nothing else of the library. The one with libuv is left out where that is not.
EXAMPLE = $(CC) $(RC_CFLAGS) -I$(BUILD)/include $(CPPFLAGS) $(CFLAGS) -pie $(RC_LDFLAGS) $(LDFLAGS) $< $(LIBRARY) $(LIBS) -o $@
$(EXAMPLES): $(HEADERS) $(LIBRARY) | $(READY_EXAMPLES) $(INCLUDED)
$(BUILD)/examples/%: tools/examples/%.c
	@mkdir -p $(@D)
	$(call say,compile $@)$(EXAMPLE)

$(BUILD)/examples/uv: tools/examples/uv.c
	@mkdir -p $(@D)
	$(call say,compile $@)if echo '#include <uv.h>' | $(CC) -E -x c - >/dev/null 2>&1; then $(EXAMPLE) -luv; \
		else echo 'ringcast: $@ is left out, since libuv is not here'; fi
# They see one header, and link nothing of ours.
$(BUILD)/examples/producer/%: tools/examples/producer/%.c $(PRODUCER_HEADERS) Makefile | $(READY) $(INCLUDED)
	@mkdir -p $(@D)
	$(call say,compile $@)$(CC) $(RC_CFLAGS) -I$(BUILD)/include $(CPPFLAGS) $(CFLAGS) -pie $(RC_LDFLAGS) $(LDFLAGS) $< -o $@

$(BUILD)/examples/producer/%_cpp: tools/examples/producer/%.cpp $(PRODUCER_HEADERS) Makefile | $(READY_TEST) $(INCLUDED)
	@mkdir -p $(@D)
	$(call say,compile $@)$(CXX) -std=c++17 -O2 -g -Wall -Wextra -Werror -I$(BUILD)/include $(LDFLAGS) $< -o $@

$(BUILD)/tests/producer_peer: $(BUILD)/obj/tests/live/producer_peer.o
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ -o $@

# For the unit tests of what the programs are made of.
$(BUILD)/tools.a: $(filter-out %/main.o %/version.o,$(TOOL_OBJECTS))
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/tests/unit_%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/tools.a $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ -lcriterion $(LIBS) $(TOOL_LIBS) -o $@

# engine/ once more, with the checks of every change (check.h), for the fuzzers.
$(BUILD)/obj/checked/%.o: %.c Makefile | $(READY)
	@mkdir -p $(@D)
	$(call say,compile $< with its checks)$(CC) $(RC_CFLAGS) -DRC_CHECK_EACH $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# Nodes as they are, on an engine that is hostile on purpose, with a model in the place of the library. Both commands are
# kept, so that tests/backplane/test_hostile.py compiles one file anew and links the rest as it is.
HOSTILE_LINK = $(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $(HOSTILE_OBJECTS)

$(HOSTILE): $(HOSTILE_OBJECTS)
	@mkdir -p $(@D)
	@echo '$(CC) $(RC_CFLAGS) $(INCLUDE_tools) $(CPPFLAGS) $(CFLAGS)' >$@.compile
	@echo '$(HOSTILE_LINK)' >$@.link
	$(call say,link $@)$(HOSTILE_LINK) -o $@

$(BUILD)/tests/threads_%: $(BUILD)/obj/tests/threads/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

# The same target twice: with the seeds and some mutants of them as a test, and under libFuzzer (tests/fuzz.sh builds it).
$(BUILD)/tests/fuzz_%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/run.o $(CHECKED_OBJECTS) $(BUILD)/tools.a $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) $(TOOL_LIBS) -o $@

$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/tools.a $(LIBRARY)
	$(call say,link $@)$(CC) -fsanitize=fuzzer $(RC_LDFLAGS) $(LDFLAGS) $^ $(LIBS) $(TOOL_LIBS) -o $@

# Both commands are kept, so that tests/sim/defects.sh compiles one file anew and links the rest as it is.
SIM_COMPILE = $(CC) $(RC_CFLAGS) -include tests/sim/small.h $(CPPFLAGS) $(CFLAGS)
SIM_LINK = $(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $(SIM_WRAPPED:%=-Wl,--wrap=%)

$(BUILD)/obj/sim/%.o: %.c Makefile | $(READY)
	@mkdir -p $(@D)
	$(call say,compile $< for the simulator)$(SIM_COMPILE) $(INCLUDE_$(firstword $(subst /, ,$<))) -MMD -MP -c $< -o $@

$(BUILD)/sim: $(SIM_OBJECTS)
	@echo '$(SIM_COMPILE)' >$(BUILD)/obj/sim/compile
	@echo '$(SIM_LINK)' >$(BUILD)/obj/sim/link
	@printf '%s\n' $(SIM_OBJECTS) >$(BUILD)/obj/sim/objects
	$(call say,link $@)$(SIM_LINK) $^ -lssl -lcrypto -lz -o $@

$(BUILD)/benches/backplane: $(BUILD)/tools.a

$(BUILD)/benches/%: $(BUILD)/obj/benches/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) -pie $(RC_LDFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %tools.a,$^) $(LIBRARY) $(LIBS) $(TOOL_LIBS) -o $@

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
