# The menu: demo and test set everything up by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CODE := src proofs tests recipes tools benchmarks
export DIPTYCH_DATA ?= $(abspath ../shared/data)

.PHONY: help demo test test-all test-avx2 test-browser test-lowest check rules doctest fresh first-minutes format index pages docs bench bench-quick results intervals kills changelog release clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set up, classify the photos that ship, run the few-shot board, write out/demo/report.html"
	@echo "make test    set up and run the suite, without tests of pages, proofs, recipes and tools that no change concerns"
	@echo "make test-all      the whole suite"
	@echo "make rules   format, lint, types, floors, spelling, derived files"
	@echo "make check   the rules, the examples in docstrings, the whole suite"
	@echo "make format  format, and mend what the linter can mend"
	@echo "make index   write the derived files again: table of systems, lowest versions, tables of pages"
	@echo "make pages   these, and the pages of towers and checkpoints (minutes)"
	@echo "make docs    the site, out/site/index.html"
	@echo "make fresh   build the wheel, install it alone into a new environment, use it there (another 2 GB)"
	@echo "make first-minutes  time a new environment from pip install to the first search, docs/first-minutes.md"
	@echo "make bench   speed against peers, out/bench.json"
	@echo "make bench-quick   a few of its rows beside the committed ratios, out/bench-quick.json"
	@echo "make results run committed results again and compare; ONLY=\"gda coop\" runs some, OVER=1 writes over them"
	@echo "make intervals     simulate every interval, and write how often it holds the truth into docs/intervals.md"
	@echo "make kills         kill trainings, encodings and indexings at random for an hour, MINUTES=60, and compare"
	@echo "make test-avx2     the tests of methods, nn and train as on a processor without AVX-512"
	@echo "make test-browser  the server's page, the site and a report in headless Chromium, which must be installed"
	@echo "make test-lowest   the suite on the lowest declared versions (another 6 GB)"
	@echo "make changelog     move the fragments of changelog.d into CHANGELOG.md, under the version"
	@echo "make release       build sdist and wheel into dist/, check both, use the wheel in a new environment"

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

# A file's tests run in one worker, so that what they share is made once: with pytest 9.2, xdist's groups do nothing.
# tests/conftest.py says which files run first and together; else those with few tests, slow or not, would come last.
# One thread a worker, and none begun anew after a crash: xdist then waits for ever for the tests of the dead one.
# glibc keeps freed buffers: giving each back to the kernel costs more than the tests themselves on small machines.
# Bytecode is written although an image may forbid it: else each run rewrites the asserts of all tests in each worker.
SUITE := test test-all test-avx2 test-browser test-lowest
$(SUITE): export OMP_NUM_THREADS ?= 1
$(SUITE): export MALLOC_TRIM_THRESHOLD_ ?= 17179869184
$(SUITE): export MALLOC_MMAP_THRESHOLD_ ?= 33554432
$(SUITE): export PYTHONDONTWRITEBYTECODE =
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

# Without the tests of pages, proofs, recipes and tools that no change concerns; test-all runs them too.
test: $(VENV)/.dev
	$(BIN)/$(PYTEST) $$($(BIN)/python tools/changed.py)

test-all: $(VENV)/.dev
	$(BIN)/$(PYTEST)

# Kernels of other processors round differently: no test may depend on how.
test-avx2: export ATEN_CPU_CAPABILITY = avx2
test-avx2: export ONEDNN_MAX_CPU_ISA = AVX2
test-avx2: export MKL_ENABLE_INSTRUCTIONS = AVX2
test-avx2: $(VENV)/.dev
	$(BIN)/$(PYTEST) tests/methods tests/nn tests/train

$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group browser
	@touch $@

test-browser: $(VENV)/.browser $(VENV)/.docs
	$(BIN)/python -m pytest tests/serve/test_pages.py tests/docs/test_site.py

check: rules doctest test-all

# Derived files that take no tower are compared here; docs/towers.md and docs/checkpoints.md by tests of the suite.
# What diptych new-system writes has strict types too: mypy knows the rest by then.
rules: $(VENV)/.dev
	! git grep -nE '^(<<<<<<<|>>>>>>>) '
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	rm -rf out/skeletons && mkdir -p out/skeletons
	cd out/skeletons && for verb in $(notdir $(patsubst %/,%,$(wildcard src/diptych/assets/new_system/*/))); do $(abspath $(BIN))/diptych new-system my-$$verb --verb $$verb; done
	MYPYPATH=src $(BIN)/mypy out/skeletons/*/my_*.py tests/docs/user_code.py
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/python tools/systems_stub.py --check
	$(BIN)/python tools/verbs_stub.py --check
	$(BIN)/python tools/lowest.py --check
	$(BIN)/python tools/systems_table.py --check
	$(BIN)/python tools/not_shown.py --check
	$(BIN)/python tools/published_table.py --check
	$(BIN)/python tools/benchmarks_table.py --check
	$(BIN)/python tools/planted_table.py --check
	$(BIN)/python tools/which_classifier.py --check
	$(BIN)/python tools/which_objective.py --check
	$(BIN)/python tools/result_tables.py --check

doctest: $(VENV)/.dev
	$(BIN)/python -m pytest -q -p tests.support.doctests --doctest-modules src proofs --ignore src/diptych/systems.py

# Which tests the lowest versions must pass: make test-lowest LOWEST="tests/data tests/train".
LOWEST ?= tests

.venv-lowest/.dev: tools/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-lowest/bin/python -m pip install --quiet --constraint tools/lowest.txt --editable ".[train,lora]" --group test
	@touch $@

test-lowest: .venv-lowest/.dev
	.venv-lowest/bin/$(PYTEST) $(LOWEST)

format: $(VENV)/.dev
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --out out/bench.json

bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks.guard --out out/bench-quick.json

$(VENV)/.docs: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

# Strict: a broken link is an error. Pages of systems and of the reference are made from cards, results and docstrings.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --quiet --site-dir out/site

# Each file of results/ names its command; what lies in out/results is not run again.
results: $(VENV)/.dev
	$(BIN)/python tools/results.py $(ONLY) $(if $(OVER),--over)

# One core, a few minutes; WORDS="pairs cut" measures some rows, and leaves the others as they are.
intervals: export OMP_NUM_THREADS = 1
intervals: $(VENV)/.dev
	$(BIN)/python -m tools.intervals $(WORDS)

# Nothing of a training, an encoding or an index is lost, wherever it is killed.
MINUTES ?= 60
kills: export OMP_NUM_THREADS = 1
kills: $(VENV)/.dev
	$(BIN)/python -m tools.kills --minutes $(MINUTES) --out out/kills.json

index: $(VENV)/.dev
	$(BIN)/python tools/systems_stub.py
	$(BIN)/python tools/verbs_stub.py
	$(BIN)/python tools/lowest.py --write
	$(BIN)/python tools/systems_table.py
	$(BIN)/python tools/not_shown.py
	$(BIN)/python tools/published_table.py
	$(BIN)/python tools/benchmarks_table.py
	$(BIN)/python tools/planted_table.py
	$(BIN)/python tools/which_classifier.py
	$(BIN)/python tools/which_objective.py
	$(BIN)/python tools/result_tables.py

pages: index
	$(BIN)/python -m tests.support.towers
	$(BIN)/python docs/checkpoints.py

fresh:
	rm -rf out/wheel
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir out/wheel .
	$(PYTHON) tools/fresh_install.py out/wheel/*.whl

# On an otherwise idle machine; the last commit is installed.
first-minutes:
	$(PYTHON) tools/first_minutes.py

$(VENV)/.release: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --group release
	@touch $@

changelog: $(VENV)/.release
	$(BIN)/towncrier build --yes

release: $(VENV)/.release
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(PYTHON) tools/fresh_install.py dist/*.whl

clean:
	rm -rf $(VENV) out dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
