# Two commands do everything on a fresh machine: `make run` and `make test`.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 9999
PYTEST_ARGS ?=
PACKAGES ?=
FUZZ_SECONDS ?= 120
SOAK_SECONDS ?= 600

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install -qq
# One stamp per extra: `make run` never waits for what only the tests need, and nothing is installed twice.
BASE := $(VENV)/.stamp-base
TEST := $(VENV)/.stamp-test
LINT := $(VENV)/.stamp-lint
BENCH := $(VENV)/.stamp-bench

.DEFAULT_GOAL := help
.PHONY: help run test conformance cover lint bench fuzz faults soak gotest venv clean
# Two pips must not write one environment at a time.
.NOTPARALLEL:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(BASE) ## Serve the TCP echo guest on 127.0.0.1:9999 beside a ticker (PORT=0: any free port)
	@exec $(PY) examples/tcpecho/host.py --port $(PORT)

test: $(TEST) ## Run every test (PYTEST_ARGS="-k name" for some)
	@$(PY) -m pytest -q -rsfE $(PYTEST_ARGS)

conformance: $(TEST) ## State preview 1's facts on coop and beside native wasmtime, and run Go's tests of the host
	@$(PY) -m pytest -q -rsfE tests/conformance $(PYTEST_ARGS)

cover: $(TEST) ## Run every test and show the branches of coop/ that none took
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest -q -rsfE $(PYTEST_ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

lint: $(LINT) ## Check style, format and types
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check . || { $(PY) -m ruff format --check .; exit 1; }
	@$(PY) -m mypy --strict coop

fuzz: $(TEST) ## Call WASI, the public API and the HTTP server at random, FUZZ_SECONDS each (default 120)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PY) -m pytest -q -rsfE -s tests/fuzz

faults: $(TEST) ## Make every system call fail in turn, on every poller (the tests do on one)
	@COOP_LONG=1 $(PY) -m pytest -q -rsfE tests/faults $(PYTEST_ARGS)

soak: $(TEST) ## Begin, feed and end busy guests for SOAK_SECONDS (default 600)
	@SOAK_SECONDS=$(SOAK_SECONDS) $(PY) -m pytest -q -rsfE tests/engine/test_slices.py -k open_and_close

gotest: $(TEST) $(BENCH) ## Run tests of Go's standard library, native wasmtime beside (PACKAGES="os net" for some)
	@$(PY) -m tests.conformance.gostd $(PACKAGES)

bench: $(BENCH) ## Measure against native wasmtime, wasmtime-py and gevent
	@$(PY) -m bench

venv: $(BASE) $(TEST) $(LINT) ## Make the environment with all that tests and lint need

clean: ## Remove the environment and everything built
	@rm -rf $(VENV) .venv-ci build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BASE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("coop needs Python 3.11 or newer; PYTHON=%s is %d.%d" \
	  % (sys.executable, *sys.version_info[:2]) if sys.version_info < (3, 11) else 0)'
	@# An environment without pip is one whose making was interrupted: make it again in place.
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing coop into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(TEST) $(LINT) $(BENCH): $(VENV)/.stamp-%: $(BASE)
	@echo "installing what $* needs into $(VENV)"
	@$(PIP) --editable '.[$*]'
	@touch $@
