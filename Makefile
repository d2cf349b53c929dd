# forklore: make demo, make test, make check, make interop, make attacks, make labs, make tools, make bench-fork, make install
CARGO   ?= cargo
BIN     ?= target/release

# Where `make install` puts things; DESTDIR goes before all of them.
PREFIX  ?= /usr/local
DESTDIR ?=
SBINDIR ?= $(PREFIX)/sbin
BINDIR  ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
MANDIR  ?= $(DATADIR)/man

.PHONY: help build demo test test-long test-bare check man fmt options interop interop-tftp interop-pop3 interop-smtp interop-pxe attacks hostile-tftp tools bench-fork bench-tftp bench-tls bench-pop3 bench-smtp bench-queue crash-pop3 crash-smtp crash-queue install install-strip uninstall check-install check-scripts clean demo-mx

help:
	@echo 'make build    the release binaries, in $(BIN)'
	@echo 'make demo     a letter, a file and five echo clients, shown and checked'
	@echo 'make demo-mx  a letter from host to host by MX; one that waits after a 4xx, one that comes back after a 5xx'
	@echo 'make test     all tests; needs nothing but the Rust toolchain'
	@echo 'make test-long  the same, and what is tried at random ten times as often (TIMES=N)'
	@echo 'make test-bare  the same in a bare Debian that debootstrap makes (as root)'
	@echo 'make check    rustfmt, clippy and rustdoc, warnings are errors'
	@echo 'make man      mandoc -T lint over the manual pages'
	@echo 'make check-scripts  the library of the scripts, and the crash tests'\'' own parts'
	@echo 'make interop  the daemons against real third-party programs'
	@echo '              (scripts/interop/setup installs them, and mandoc, on Debian)'
	@echo 'make interop-tftp  its last part: how tftpd, tftpd-hpa, atftpd and dnsmasq behave, a table'
	@echo 'make interop-pop3  the same of pop3d, Dovecot and popa3d (as root)'
	@echo 'make interop-smtp  the same of smtpd, Postfix and OpenSMTPD (as root)'
	@echo 'make interop-pxe  real machines boot from tftpd, in qemu (as root)'
	@echo 'make attacks  a local user and strangers attack the mail daemons (as root)'
	@echo 'make hostile-tftp  two million hostile packets for tftpd (PACKETS=N; SEED=N repeats a run)'
	@echo 'make fuzz     what strangers send, by libFuzzer: the targets of fuzz/, 30 s each (TIME=, TARGETS=)'
	@echo 'make samples  the outputs in README.md and docs, made and compared; their links'
	@echo 'make labs     the course of docs/labs: every step and every task; make lab-03: one of them'
	@echo 'make tools    perf, gdb, uprobes and valgrind with the daemons; a dynamic build'
	@echo 'make bench-fork  our server designs beside C programs and superservers, into docs/bench'
	@echo '              (seven minutes; QUICK=1: half a one, and nothing is written)'
	@echo 'make bench-tftp  tftpd beside tftpd-hpa, atftpd and dnsmasq, into docs/bench'
	@echo '              (half an hour; ROWS="large pinned small delay upload storm flood": these parts; QUICK=1: a short run)'
	@echo 'make bench-tls  TLS handshakes and idle sessions of pop3d beside Dovecot, into docs/bench'
	@echo 'make bench-pop3  pop3d beside Dovecot and popa3d, pop3c beside mpop and fetchmail, into docs/bench'
	@echo '              (as root; ROWS="logins retr": these parts; QUICK=1: a short run)'
	@echo 'make bench-smtp  smtpd beside Postfix, OpenSMTPD and the file system alone, into docs/bench'
	@echo '              (as root; ROWS="disk tls": these parts; QUICK=1: a short run)'
	@echo 'make bench-queue  smtpq beside Postfix and OpenSMTPD, from the queue to smtp-sink, into docs/bench'
	@echo '              (as root; ROWS="rate large": these parts; QUICK=1: a short run)'
	@echo 'make crash-pop3, crash-smtp, crash-queue  kill -9, errors of the disk and power cuts, into'
	@echo '              docs/bench (as root; fifteen minutes; QUICK=1: one, and nothing is written)'
	@echo 'make options  manual pages, guide and completions from the rows of the options'
	@echo 'make install  programs, manual pages, completions, deploy files, below $(PREFIX)'
	@echo '              (PREFIX, DESTDIR, SBINDIR, BINDIR, DATADIR, MANDIR;'
	@echo '              install-strip: without symbols; uninstall: what it made)'
	@echo 'make check-install  tries both in an empty folder'
	@echo 'make fmt      formats the sources'
	@echo 'make clean    remove what was built'

# The examples and the labs' tasks are run from target/debug alone.
build:
	$(CARGO) build --release --locked --workspace --exclude examples --exclude lab-tasks

build-debug:
	$(CARGO) build --locked --workspace

# Looks for what it needs before anything is built.
demo:
	@scripts/lib/need 'make demo' cargo cc libc.a python3 ps ss
	@$(MAKE) build
	@BIN=$(BIN) scripts/demo

# The name server is one of the examples, which are run from target/debug.
demo-mx:
	@scripts/lib/need 'make demo-mx' cargo cc libc.a python3
	@$(MAKE) build
	$(CARGO) build --locked -p examples --bin dnsstub
	@BIN=$(BIN) scripts/demo-mx

test:
	$(CARGO) test --locked --workspace --no-fail-fast

# What is tried at random is tried ten times as often.
test-long:
	FORKLORE_TIMES=$(or $(TIMES),10) $(CARGO) test --locked --workspace --no-fail-fast

test-bare:
	@scripts/bare-debian

check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

man:
	@scripts/check-man

options:
	$(CARGO) build --locked -p echod -p pop3d -p smtpd -p smtpq -p tftpd
	@BIN=$(dir $(BIN))debug scripts/options

# A program of other people that is missing is told first, and its tests fail.
interop: build build-debug
	BIN=$(BIN) scripts/interop/run
	BIN=$(BIN) scripts/interop/tftp_table/run
	BIN=$(BIN) scripts/interop/pop3_table/run
	BIN=$(BIN) scripts/interop/smtp_table/run

interop-tftp: build
	BIN=$(BIN) scripts/interop/tftp_table/run

interop-pop3: build
	BIN=$(BIN) scripts/interop/pop3_table/run

interop-smtp: build
	BIN=$(BIN) scripts/interop/smtp_table/run

interop-pxe: build
	BIN=$(BIN) scripts/interop/pxe/run

# What they try is in scripts/attacks; TRIES=N logins and deliveries in the races.
attacks: build
	@BIN=$(BIN) scripts/attacks/run

# What is sent, and what must hold afterwards, is in scripts/hostile.
hostile-tftp: build
	@BIN=$(BIN) scripts/hostile/run

# With the stable toolchain and a C++ compiler; `cargo fuzz run TARGET` works as well. TIME=seconds for each;
# `scripts/fuzz --merge` keeps in fuzz/corpus what was found.
TARGETS ?=
.PHONY: fuzz
fuzz:
	@scripts/lib/need 'make fuzz' cargo cc c++ python3
	@scripts/fuzz $(TARGETS)

labs: build-debug check-labs
	@scripts/labs/run

lab-%: build-debug
	@scripts/labs/run $*

# The library of the scripts (scripts/lib).
check-scripts:
	@cd scripts && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover -q -s lib -t .
	@cd scripts/crash && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -q

# The labs' runner itself: a lab that does not tell the truth must fail.
check-labs:
	@cd scripts/labs && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -q

# What README, guide and course show; scripts/samples --update writes what comes now.
.PHONY: samples
samples: build-debug
	$(CARGO) build --locked -p forknet --example daytimed
	@scripts/samples --check

tools: build
	@BIN=$(BIN) scripts/tools

bench-fork:
	@scripts/bench/run

bench-tftp:
	@scripts/bench/tftp/run

bench-tls:
	@scripts/bench/tls/run

bench-pop3:
	@scripts/bench/pop3/run

bench-smtp:
	@scripts/bench/smtp/run

bench-queue:
	@scripts/bench/queue/run

# What it tries is in scripts/crash; SEED=N repeats the random choices of a run, TIMES=N kills N times each.
crash-pop3:
	@scripts/crash/run pop3

crash-smtp:
	@scripts/crash/run smtp

crash-queue:
	@scripts/crash/run queue

# Cargo is called only where a program is missing, so that root needs no toolchain.
install uninstall: export BIN := $(BIN)
install uninstall: export PREFIX := $(PREFIX)
install uninstall: export DESTDIR := $(DESTDIR)
install uninstall: export SBINDIR := $(SBINDIR)
install uninstall: export BINDIR := $(BINDIR)
install uninstall: export DATADIR := $(DATADIR)
install uninstall: export MANDIR := $(MANDIR)
install:
	@scripts/install built || $(MAKE) build
	@scripts/install install

install-strip: export STRIP = yes
install-strip: install

uninstall:
	@scripts/install uninstall

check-install: build
	@BIN=$(BIN) scripts/check-install

fmt:
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

clean:
	$(CARGO) clean
