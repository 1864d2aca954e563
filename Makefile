# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# make            build/l3afctl
# make demo       install what is missing, build, show the main job live (root)
# make check      install what is missing, build, run all tests (root)
# make check-vm   the scenarios on stock Debian kernels 5.10, 6.1, 6.12, 7.2 (root)
# make bench      figures (root)
# make install    DESTDIR= PREFIX=/usr/local

VERSION := 0.1.0
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
B := build
# make V=1 shows the commands
Q := $(if $(V),,@)
say = @printf '  %-4s %s\n' $1 $@

CC ?= gcc
CLANG ?= clang
LLVM_STRIP ?= llvm-strip
BPFTOOL ?= $(or $(shell command -v bpftool 2>/dev/null),/usr/sbin/bpftool)

WARN := -Wall -Wextra -Werror -Wformat=2 -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=c17 -D_GNU_SOURCE $(WARN) $(HARDEN) $(CFLAGS) -DVERSION='"$(VERSION)"' -Ilib -Icmd -Ibpf -I$(B)/bpf
LDLIBS := -lxdp -lbpf -lmnl -lcjson -lsodium
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now $(LDFLAGS)

# v3: 32-bit ALU and jumps, in every kernel of the matrix (its atomics need 5.12)
BPF_CPU := v3
BPF_CFLAGS = -target bpf -mcpu=$(BPF_CPU) -O2 -g -std=gnu17 -Wall -Wextra -Werror -Wno-unused-parameter \
	-Ibpf -I/usr/include/$(shell $(CC) -print-multiarch)

SRC := $(sort $(wildcard lib/*.c cmd/*.c))
OBJ := $(SRC:%.c=$(B)/%.o)
LIBOBJ := $(filter $(B)/lib/%,$(OBJ))
BPFSRC := $(sort $(wildcard bpf/*.bpf.c))
SKEL := $(BPFSRC:bpf/%.bpf.c=$(B)/bpf/%.skel.h)

all: $(B)/l3afctl

$(B)/l3afctl: $(OBJ)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

$(B)/%.o: %.c | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $<
	$(Q)$(LLVM_STRIP) -g $@.tmp
	@mv $@.tmp $@

$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name $*_skel >$@.tmp
	@mv $@.tmp $@

# Test programs, third-party-style objects, and the members that mark test packets
TESTOBJ := $(patsubst %.bpf.c,$(B)/%.o,$(sort $(wildcard tests/bpf/*.bpf.c)))
FPOBJ := $(foreach id,1 2 3 4 5 6 7 8 9,$(B)/tests/fp$(id).bpf.o) $(B)/tests/fpcount.bpf.o
# mirror with one of its guards left out
GUARDOBJ := $(foreach n,1 2 3,$(B)/tests/mirrorguard$(n).bpf.o)

# Test programs: those on our library, those that need nothing of it, and the rest below
LIBTESTS := \
	benchl2tp \
	benchlb \
	benchmirror \
	flow \
	l2tprun \
	lbpkt \
	lbring \
	lbsim \
	match \
	mirrorpkt \
	mirrorset
PLAINTESTS := \
	agentrun \
	benchagent \
	flowsend \
	lbflood \
	lbload \
	mirrorload \
	syn
tests: all test-objects $(patsubst %,$(B)/tests/%,$(LIBTESTS) $(PLAINTESTS) oracle killat unit_window)
test-objects: $(TESTOBJ) $(FPOBJ) $(GUARDOBJ)

$(B)/tests/bpf/%.o: tests/bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $<
	$(Q)$(LLVM_STRIP) -g $@.tmp
	@mv $@.tmp $@

$(B)/tests/fp%.bpf.o: tests/tools/fp.bpf.c tests/tools/fp.h
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -DID=$* -c -o $@ $<

$(B)/tests/fpcount.bpf.o: tests/tools/fpcount.bpf.c tests/tools/fp.h
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(B)/tests/mirrorguard%.bpf.o: bpf/mirror.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -DMIRROR_WITHOUT_GUARD=$* -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@ $<

ORACLE := oracle.c assail.c judge.c change.c command.c traffic.c
$(B)/tests/oracle: $(ORACLE:%=tests/tools/%) $(wildcard tests/tools/*.h) bpf/root.h
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c,$^) -pthread -lbpf -lcjson

$(B)/tests/bench: tests/bench.c tests/bpf/flowbench.h bpf/root.h
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -lbpf

$(B)/tests/killat: tests/tools/killat.c tests/tools/command.c tests/tools/command.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.c,$^)

$(LIBTESTS:%=$(B)/tests/%): $(B)/tests/%: tests/%.c $(LIBOBJ)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/bpf $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $(filter %.c %.o,$^) $(LDLIBS) -lm

$(PLAINTESTS:%=$(B)/tests/%): $(B)/tests/%: tests/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< -pthread -lbpf

$(B)/tests/unit_window: tests/unit_window.c bpf/window.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< -pthread

bench: $(B)/l3afctl $(B)/tests/bench $(B)/tests/benchagent $(B)/tests/benchl2tp $(B)/tests/benchlb $(B)/tests/flow $(B)/tests/flowsend $(B)/tests/unit_ipfix \
		$(addprefix $(B)/tests/bpf/,agentharness.o bench.o empty.o flowbench.o flowpeer.o l2tpharness.o lbharness.o tcempty.o)
	tests/bench
	@echo
	KATRAN=$(KATRAN) tests/benchlb
	@echo
	tests/benchagent
	@echo
	tests/benchmirror
	@echo
	tests/benchl2tp
	@echo
	$(B)/tests/unit_ipfix bench
	@echo
	tests/benchexport

bench: $(B)/tests/match $(B)/tests/benchmirror $(addprefix $(B)/tests/bpf/,drop.o match.o mirrorpeer.o tcempty.o)

# What has to be there on Debian 12, to build and to test
DEPS := gcc clang llvm make bpftool pkg-config libbpf-dev libxdp-dev libmnl-dev libcjson-dev libsodium-dev \
	libcurl4-openssl-dev bats bird2 busybox-static cpio curl ethtool fish iperf3 iproute2 jq kmod \
	libfixbuf-tools mandoc nfdump openssl python3-minimal qemu-system-x86 shellcheck softflowd strace tshark \
	util-linux xdp-tools xxd xz-utils zsh zstd

deps:
	@have=$$(dpkg-query -W -f '$${db:Status-Status}:$${Package}\n' $(DEPS) 2>/dev/null | sed -n 's/^installed://p'); \
	missing=$$(for p in $(DEPS); do echo "$$have" | grep -qx "$$p" || echo "$$p"; done); \
	[ -z "$$missing" ] || { echo installing $$missing; export DEBIAN_FRONTEND=noninteractive; \
		set -- apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $$missing; \
		"$$@" >/dev/null 2>&1 || { apt-get update -qq && "$$@" >/dev/null; }; }

# from nothing, the programs as well
check: deps
	@rm -rf $(B)
	+@$(MAKE) --no-print-directory -j$$(nproc) tests
	@tests/run

check-vm: deps
	+@$(MAKE) --no-print-directory -j$$(nproc) tests
	@L3AF_VM_CHANGES=1000 tests/run vm:6.1 vm:5.10 vm:6.12 vm:7.2

demo: deps
	+@$(MAKE) --no-print-directory -s -j$$(nproc) tests
	@tests/demo

.SECONDARY: $(SKEL) $(SKEL:.skel.h=.bpf.o)

clean:
	rm -rf $(B)

-include $(patsubst %,$(B)/tests/%.d,$(LIBTESTS) $(PLAINTESTS)) $(OBJ:.o=.d) $(SKEL:.skel.h=.bpf.d) $(TESTOBJ:.o=.d) $(GUARDOBJ:.o=.d)

.PHONY: all bench check check-vm clean demo deps test-objects tests
.DELETE_ON_ERROR:

# every object that has a manual page has a link that selects it
LINKS := $(patsubst man/l3afctl-%.8,%,$(wildcard man/l3afctl-*.8))
DATADIR ?= $(PREFIX)/share
BASHDIR := $(DATADIR)/bash-completion/completions
ZSHDIR := $(DATADIR)/zsh/site-functions
FISHDIR := $(DATADIR)/fish/vendor_completions.d

install: $(B)/l3afctl
	install -d $(addprefix $(DESTDIR),$(SBINDIR) $(MANDIR)/man8 $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	install -m 755 $(B)/l3afctl $(DESTDIR)$(SBINDIR)/l3afctl
	install -m 644 man/*.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 completions/l3afctl.bash $(DESTDIR)$(BASHDIR)/l3afctl
	install -m 644 completions/_l3afctl $(DESTDIR)$(ZSHDIR)/_l3afctl
	install -m 644 completions/l3afctl.fish $(DESTDIR)$(FISHDIR)/l3afctl.fish
	for o in $(LINKS); do \
		ln -sf l3afctl $(DESTDIR)$(SBINDIR)/l3af-$$o && \
		ln -sf l3afctl-$$o.8 $(DESTDIR)$(MANDIR)/man8/l3af-$$o.8 && \
		ln -sf l3afctl $(DESTDIR)$(BASHDIR)/l3af-$$o && \
		ln -sf l3afctl.fish $(DESTDIR)$(FISHDIR)/l3af-$$o.fish || exit 1; \
	done

uninstall:
	rm -f $(addprefix $(DESTDIR),$(SBINDIR)/l3afctl $(LINKS:%=$(SBINDIR)/l3af-%) \
		$(patsubst man/%,$(MANDIR)/man8/%,$(wildcard man/*.8)) $(LINKS:%=$(MANDIR)/man8/l3af-%.8) \
		$(BASHDIR)/l3afctl $(LINKS:%=$(BASHDIR)/l3af-%) $(ZSHDIR)/_l3afctl \
		$(FISHDIR)/l3afctl.fish $(LINKS:%=$(FISHDIR)/l3af-%.fish))

tests: $(patsubst %.c,$(B)/%,$(wildcard tests/unit_*.c))

$(B)/tests/unit_%: tests/unit_%.c $(B)/lib/out.o $(B)/lib/parse.o $(B)/lib/parsenet.o $(B)/lib/text.o $(B)/lib/err.o
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS)
$(B)/tests/unit_maglev: $(B)/lib/maglev.o
$(B)/tests/unit_ipfix: $(addprefix $(B)/lib/,ipfix.o ipfixfields.o ipfixmessage.o ipfixoptions.o \
	ipfixread.o)

.PHONY: install uninstall
