# The menu: demo and test set everything up by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export DIPTYCH_DATA ?= $(abspath ../shared/data)

.PHONY: demo test test-lowest check format index bench results clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, classify the photos that ship, run the few-shot board, write out/demo/report.html"
	@echo "make test    set up and run the suite"
	@echo "make check   format, lint, types, floors, tests"
	@echo "make bench   speed against peers, out/bench.json"
	@echo "make results run committed results again and compare; ONLY=\"gda coop\" runs some, OVER=1 writes over them"
	@echo "make test-lowest   the suite on the lowest declared versions (another 6 GB)"

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[train,lora]"
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

demo: $(VENV)/.run
	$(BIN)/diptych demo --out out/demo

# One thread a worker, and none begun anew after a crash: xdist then waits for ever for the tests of the dead one.
# glibc keeps freed buffers: giving each back to the kernel costs more than the tests themselves on small machines.
test: export OMP_NUM_THREADS ?= 1
test: export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
test: export MALLOC_MMAP_THRESHOLD_ ?= 33554432
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup --max-worker-restart=0

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests recipes
	$(BIN)/ruff check src tests recipes
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m diptych.catalog --check
	$(BIN)/python tools/lowest.py --check
	$(MAKE) test

# Which tests the lowest versions must pass: make test-lowest LOWEST="tests/data tests/train".
LOWEST ?= tests

.venv-lowest/.dev: tools/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-lowest/bin/python -m pip install --quiet --constraint tools/lowest.txt --editable ".[train,lora]" --group test
	@touch $@

test-lowest: export OMP_NUM_THREADS ?= 1
test-lowest: export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
test-lowest: export MALLOC_MMAP_THRESHOLD_ ?= 33554432
test-lowest: .venv-lowest/.dev
	.venv-lowest/bin/python -m pytest -n 2 --dist loadgroup --max-worker-restart=0 $(LOWEST)

format: $(VENV)/.dev
	$(BIN)/ruff format src tests recipes
	$(BIN)/ruff check --fix src tests recipes

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out out/bench.json

# Each file of results/ names its command; what lies in out/results is not run again.
results: $(VENV)/.dev
	$(BIN)/python tools/results.py $(ONLY) $(if $(OVER),--over)

index: $(VENV)/.dev
	$(BIN)/python -m diptych.catalog --write

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
