# forklore: make demo, make test, make check, make interop
CARGO ?= cargo
BIN   ?= target/release

.PHONY: help build demo test check fmt interop clean

help:
	@echo 'make build    the release binaries, in $(BIN)'
	@echo 'make demo     a letter, a file and five echo clients, shown and checked'
	@echo 'make test     all tests; needs nothing but the Rust toolchain'
	@echo 'make check    rustfmt, clippy and rustdoc, warnings are errors'
	@echo 'make interop  the daemons against real third-party programs'
	@echo '              (scripts/interop/setup installs them on Debian)'
	@echo 'make fmt      formats the sources'
	@echo 'make clean    remove what was built'

build:
	$(CARGO) build --release --locked --workspace

demo: build
	@BIN=$(BIN) scripts/demo

test:
	$(CARGO) test --locked --workspace --no-fail-fast

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

interop: build
	BIN=$(BIN) scripts/interop/run

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
