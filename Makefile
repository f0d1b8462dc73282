# Everything a checkout can do; `make` alone lists it. Needs python3 (3.11 or newer) and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt

# An index to take PyTorch from, such as the CPU-only one that PyTorch's install page names; may stand in .env too.
PAJAMA_TORCH_INDEX ?= $(shell sed -n 's/^PAJAMA_TORCH_INDEX=//p' .env 2>/dev/null)
export PAJAMA_TORCH_INDEX
TORCH_INDEX = $(if $(PAJAMA_TORCH_INDEX),--extra-index-url "$$PAJAMA_TORCH_INDEX")
INSTALL = @echo "Installing Pajama into $(VENV); the first time takes minutes, PyTorch being large."; \
  $(BIN)/python -m pip install --disable-pip-version-check $(TORCH_INDEX) --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test check fmt bench constraints clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/.all ## Start everything here: embedded Valkey, worker, reaper and web page (Ctrl-C stops it)
	@exec $(BIN)/pajama up

test: $(VENV)/.dev ## Run the tests on this machine's services; what is missing is skipped aloud
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: $(VENV)/.dev ## Check format, lint, types, import contracts and the generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pajama docs check

fmt: $(VENV)/.dev ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure and print; ARGS=--record writes the figures to benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(ARGS)

constraints: ## Pin the newest releases that pyproject.toml allows, in constraints.txt
	rm -rf build/pins
	$(PYTHON) -m venv build/pins
	grep '^torch==' constraints.txt > build/torch.txt  # PyTorch's pin is changed by hand
	build/pins/bin/python -m pip install $(TORCH_INDEX) --constraint build/torch.txt --editable '.[bench,dev]'
	grep '^#' constraints.txt > build/constraints.txt
	build/pins/bin/python -m pip freeze --all --exclude-editable | sed '/^pip==/d; s/+[^+]*$$//' >> build/constraints.txt
	mv build/constraints.txt constraints.txt

clean: ## Remove the virtual environment and every cache (data in .pajama/ stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: a second run does nothing until the dependencies or their pins change.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Pajama needs Python 3.11 or newer; $(PYTHON) is not. Name another: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.all: $(PINS) | $(BIN)/python
	$(INSTALL) '.[all]'
	@touch $@

$(VENV)/.dev: $(PINS) | $(BIN)/python
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.all
