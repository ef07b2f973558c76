# The habits of the project. Each target sets up what it needs in .venv; nothing else has to be done first.
#
#   make demo    train and sample a small cascade on clips that it draws itself
#   make test    every test
#   make check   format, lint, types, layering
#   make bench   the benchmarks, as ratios (DVD_GAN=FOLDER: a checkout of the public DVD-GAN to compare with;
#                QUICK=--quick: the smallest of everything, to try them)
#
# TORCH is what pip installs as torch. On a machine with another CUDA (or to save the download of CUDA on one
# without a GPU) name another build, or an index as well:
#   make demo TORCH="torch==2.13.0+cpu --extra-index-url URL"

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO ?= demo
# Test processes, with one thread each.
JOBS ?= 2

# Idle threads of torch on a CPU wait instead of spinning: where other programs run too, a step is several times
# faster for it. Set it to ACTIVE on a machine of your own.
export OMP_WAIT_POLICY ?= PASSIVE

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test check format bench clean

demo: $(READY)
	$(BIN)/python tools/synthetic.py $(DEMO)/videos
	$(BIN)/python tools/ingest.py $(DEMO)/videos $(DEMO)/clips.zarr --size 32
	$(BIN)/python tools/train.py exp/quickstart.py --work-dir $(DEMO)/run --set data.path=$(DEMO)/clips.zarr
	$(BIN)/python tools/generate.py $(DEMO)/run --count 8 --sigma 0.5
	$(BIN)/python tools/train.py exp/quickstart_classifier.py --work-dir $(DEMO)/classifier --set data.path=$(DEMO)/clips.zarr
	$(BIN)/python tools/evaluate.py $(DEMO)/run --count 200
	$(BIN)/python tools/evaluate.py $(DEMO)/run --count 200 --metrics fid,is --features $(DEMO)/classifier
	$(BIN)/python tools/report.py $(DEMO)/run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: export OMP_NUM_THREADS = 1
bench: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/others dgmr
	$(BIN)/python -m pip install --quiet $(TORCH) --editable ".[bench]"
	$(BIN)/python benchmarks/step.py --dgmr $(VENV)/others $(if $(DVD_GAN),--dvd-gan $(DVD_GAN)) $(QUICK)
	$(BIN)/python benchmarks/memory.py $(QUICK)
	$(BIN)/python benchmarks/frozen_prefix.py $(QUICK)
	$(BIN)/python benchmarks/prefix_bank.py exp/quickstart.py --batch 16 --turns 9 --cpu-time $(QUICK)
	$(BIN)/python benchmarks/prefix_bank.py exp/bdd_3stage.py --batch 2 --channels 8 --stage full --turns 9 --cpu-time $(QUICK)
	$(BIN)/python benchmarks/streaming.py $(QUICK)
	$(BIN)/python benchmarks/clip_store.py $(QUICK)

clean:
	rm -rf $(VENV)

# torch is named along with the project: left to itself, pip replaces it to fit the newest torchvision, which timm needs.
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH) --editable ".[dev]"
	touch $@
