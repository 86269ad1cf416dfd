# Everything stays in the checkout: the environment in .venv, what runs leave behind in .slbi.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a process: the tests run in two processes, and every number is the same on any machine.
SINGLE := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test exhaustive check style types imports house format lock image bench clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(STAMP): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "PYTHON must be Python 3.11 or newer, got $$($(PYTHON) -V 2>&1)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of locks/dev.txt into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@touch $@

setup: $(STAMP) ## Set up .venv

demo: $(STAMP) ## Grow a small VGG on digits through the service and show its family
	@$(BIN)/python -m bench.demo

serve: $(STAMP) ## Start the service with one worker, in .slbi
	@$(BIN)/slbi serve --home .slbi

test: $(STAMP) ## Run every test (those of PostgreSQL and Redis where both answer)
	$(SINGLE) $(BIN)/python -m pytest -n 2 --dist worksteal

exhaustive: $(STAMP) ## Run the tests of every network there is, which `make test` leaves out (ten minutes)
	$(SINGLE) $(BIN)/python -m pytest -n 2 --dist worksteal -m exhaustive

check: style types imports house test ## Run everything a change must pass

style: $(STAMP) ## Check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP) ## Check types
	$(BIN)/mypy

imports: $(STAMP) ## Check which room imports which
	$(BIN)/lint-imports

house: $(STAMP) ## Check Dockerfile and compose file
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## Compile locks/ from pyproject.toml
	@for group in service worker dev; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group $$group \
			--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
			--output-file locks/$$group.txt || exit 1; \
	done

image: ## Build both images without an engine (buildah, debootstrap; as root, 30 GB of disk)
	.ci/image service worker

bench: $(STAMP) ## Measure how fast the service starts and a job begins
	@$(BIN)/python -m bench.startup

clean: ## Remove everything that make made
	rm -rf $(VENV) .slbi .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build \
		*.egg-info
