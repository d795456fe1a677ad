# make demo and make test are all that a user needs; each builds .venv when it is missing or older than the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= demo
WORKERS ?= 2
# Each worker takes one test file after the other, so that a file's fixtures are made once; see tests/conftest.py.
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-full lint lab explorer plan rebuild gallery bench soak lock clean help
.DEFAULT_GOAL := help

help:
	@echo "make demo      rebuild every notebook on the composed corpus (outputs/demo/report/index.html)"
	@echo "make test      run the tests, a few minutes on two cores (WORKERS=$(WORKERS))"
	@echo "make test-full run every test: full grids, all notebooks, interruptions"
	@echo "make lint      check style, notebooks, docstrings and their examples"
	@echo "make lab       open JupyterLab in notebooks/"
	@echo "make explorer SONG=song.mp3   open the song explorer in the browser (SONG may be left out)"
	@echo "make plan PROFILE=thesis      say what a profile trains and writes, and how long it takes here"
	@echo "make rebuild PROFILE=thesis   rebuild another profile (see params/)"
	@echo "make gallery PROFILE=full     copy a finished run's notebooks into outputs/gallery"
	@echo "make bench     measure speed (tests/benchmarks)"
	@echo "make soak      hours of kills, mutated files and dying workers (tests/soak); SOAK=--quick takes minutes"
	@echo "make lock      write requirements.lock anew (needs uv)"

# The stamp is written last: an installation that broke off is begun again. The lock is complete, so that pip need not
# look for dependencies, and two halves of it are installed at once, because pip uses one core.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 ...")'
ifneq ($(UV),)
	test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV)
	uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	grep -v '^#' requirements.lock | tr '\n' '\0' | xargs -0 -P 2 -n 120 \
	    $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true  # on all cores; pip would use one
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/musictools rebuild --profile demo

plan: $(VENV)/.installed
	$(BIN)/musictools plan --profile $(PROFILE)

rebuild: $(VENV)/.installed
	$(BIN)/musictools rebuild --profile $(PROFILE)

gallery: $(VENV)/.installed
	$(BIN)/python -m musictools.runs.gallery $(PROFILE)

test: $(VENV)/.installed
	$(PYTEST)

test-full: $(VENV)/.installed
	$(PYTEST) --full --durations 25

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet musictools tests || { echo 'run: .venv/bin/ruff format musictools tests'; exit 1; }
	$(BIN)/python -m pytest -q tests/test_repository.py tests/test_docstrings.py

lab: $(VENV)/.installed
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --config=musictools/explorer/jupyter/config.json notebooks

explorer: $(VENV)/.installed
	$(BIN)/python -m musictools.explorer.serving $(if $(SONG),"$(SONG)")

bench: $(VENV)/.installed
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

soak: $(VENV)/.installed
	for script in tests/soak/*.py; do $(BIN)/python $$script $(SOAK) || exit 1; done

lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	    --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache
