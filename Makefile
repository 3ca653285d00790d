# Every target is at most three lines; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
MANIFEST ?= manifests/tiny/instructions.toml
OUT ?= runs/$(subst /,-,$(patsubst manifests/%,%,$(basename $(MANIFEST))))
EXECUTOR ?= ray
SHARDS ?=
WORKERS ?=
BIN := $(VENV)/bin
BUILD_FLAGS = --out '$(OUT)' $(if $(SHARDS),--shards '$(SHARDS)') --executor $(EXECUTOR) $(if $(WORKERS),--workers $(WORKERS))

.PHONY: help build-dataset test check smoke setup setup-dev data format bench-engine bench-faults lock clean-runs

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

build-dataset: setup data ## Build a dataset: SHARDS= MANIFEST= OUT= EXECUTOR=ray|inprocess WORKERS=
	@$(BIN)/editloom build $(MANIFEST) $(BUILD_FLAGS)

test: setup-dev data ## Run the tests
	@$(BIN)/pytest

check: setup-dev ## What CI runs before the tests: format, lint, types, Dockerfile
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	@$(BIN)/hadolint docker/Dockerfile

smoke: setup data ## The default manifest in process, then a deep verification
	@$(BIN)/editloom build manifests/tiny/instructions.toml --out runs/smoke --executor inprocess
	@$(BIN)/editloom verify manifests/tiny/instructions.toml --out runs/smoke --deep

setup: $(VENV)/.runtime ## Make the virtual environment with pinned, hashed packages
setup-dev: $(VENV)/.dev ## The same with the tools for tests and checks

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r $< && $(BIN)/pip install --quiet --no-deps -e . && touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes -r $< && touch $@

data: data/nltk_data/.done data/tiny/.done ## Fetch WordNet and draw the sample scenes

data/nltk_data/.done: | setup
	@$(BIN)/python -m models.fetch_data --to data/nltk_data && touch $@

data/tiny/.done: zoo/draw_scenes.py | setup
	@$(BIN)/python -m zoo.draw_scenes data/tiny && touch $@

format: setup-dev ## Format and apply safe fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench-engine: setup-dev data ## Engine against a bare multiprocessing script (benchmarks/engine)
	@$(BIN)/python benchmarks/engine/run.py

bench-faults: setup-dev data ## Kill driver, workers and raylet at random moments, resume, compare (benchmarks/faults)
	@$(BIN)/python benchmarks/faults/run.py

lock: setup-dev ## Pin the packages anew
	@$(BIN)/uv pip compile pyproject.toml $(LOCK_FLAGS) -o requirements/runtime.txt
	@$(BIN)/uv pip compile pyproject.toml --extra dev $(LOCK_FLAGS) -c requirements/runtime.txt -o requirements/dev.txt

LOCK_FLAGS := --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11

clean-runs: ## Remove everything built under runs/
	rm -rf runs
