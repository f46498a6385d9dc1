# PYTHON makes .venv; OPS, PIP_FIND_LINKS, CELLSEG_TORCH_INDEX and MAX_JOBS are read by tools/setup_env.py.
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-fast fuzz bench lint format rooms clean distclean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with all that is needed and install what is missing (OPS=compiled builds mmcv's operators)
	@$(PYTHON) tools/setup_env.py

demo: setup ## run the whole way on synthetic data: images, training, submission.csv, overlays
	@$(VENV_PYTHON) tools/demo.py

test: setup ## run the tests but for the long ones, in two processes (ARGS="-k name" goes to pytest)
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n 2 -m "not long" $(ARGS)

test-long: setup ## run the long tests: trainings that are killed and go on, every segmenter of mmdet (ARGS as for test)
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n 2 -m long $(ARGS)

test-fast: setup ## run the tests but for the slow ones and those on real data, in less than 90 seconds (ARGS as for test)
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n 2 -m "not slow and not long and not realdata" $(ARGS)

fuzz: setup ## look for faults at random: malformed inputs, CELLSEG_FUZZ_SECONDS (600) a kind; kill -9 in the middle of commands
	@CELLSEG_FUZZ_SECONDS=$${CELLSEG_FUZZ_SECONDS:-600} $(VENV_PYTHON) -m pytest -m fuzz $(ARGS)

bench: setup ## measure dense images against mmdet's masks (ARGS="--data DIR" for other images)
	@$(VENV_PYTHON) tools/benchmark/dense.py $(ARGS)

lint: setup ## check style and types
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@$(VENV_PYTHON) -m mypy

format: setup ## mend what ruff can mend
	@$(VENV_PYTHON) -m ruff check --fix
	@$(VENV_PYTHON) -m ruff format

rooms: setup ## write the table of rooms in CONTRIBUTING.md anew, from tests/rooms.py
	@$(VENV_PYTHON) -m tests.rooms

clean: ## remove caches and the demo's results
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info work_dirs/demo
	find cellseg_mmdet tests tools configs -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## remove .venv and compiled ops as well
	rm -rf .venv build
