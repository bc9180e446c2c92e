PYTHON ?= python3
# Tests run in so many processes, a thread each: most of them start commands that compute little.
JOBS ?= 2
BIN := .venv/bin

.PHONY: help .venv demo test older-cpu lint types format soak docs clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[-.a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv:  ## build the Python environment when it is missing or outdated
	@.ci/prepare_environment $(PYTHON)

demo: .venv  ## make both papers' tables from procedural sounds, in minutes, and separate a mixture to listen to
	$(BIN)/separatrix reproduce weak-labels --preset demo --output runs/demo/weak-labels
	$(BIN)/separatrix reproduce model-selection --preset demo --output runs/demo/model-selection
	$(BIN)/separatrix synthesize --config weak_labels/base --preset demo --mixtures 1 --overwrite --output runs/demo/mixture
	$(BIN)/separatrix separate --model runs/demo/weak-labels/strong/checkpoints/best.ckpt --overwrite \
		runs/demo/mixture/mixtures/test-000000.wav --output runs/demo/separated
	@echo "          compare with the true sources in runs/demo/mixture/sources"

test: lint types  ## check style and types, run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(JOBS) --dist loadfile

older-cpu: .venv  ## run the tests of reduced precision as on a processor without AVX-512
	ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "any_cpu and not soak" -n $(JOBS) --dist loadfile

lint: .venv  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv  ## check types
	$(BIN)/mypy

format: .venv  ## bring the code into the style that `make lint` checks
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: .venv  ## run the long forms of the reliability tests, and the report in a browser
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m soak -n $(JOBS)

docs: .venv  ## build the documentation into site/, to be read from the disk: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open site/index.html"

clean:  ## remove .venv, the documentation and caches; runs/ stays
	@[ ! -e .venv ] || [ -e .venv/made-by-prepare_environment ] || [ -e .venv/ready ] || \
		{ echo "clean: .venv is not of make; delete it yourself" >&2; exit 1; }
	rm -rf .venv site build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
