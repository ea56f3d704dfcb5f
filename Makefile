# Each word is complete on a bare machine with Python 3.11 to 3.13: it makes .venv if there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
# A process for each core: each computes with one thread.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: install demo test check lowest docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# Synthetic images, the backbone without weights, all three reducers: a table and heat maps.
demo: install
	$(BIN)/python -m fre_lightning experiment=demo
	@echo
	@echo "Open report.html in the newest folder under multirun/. Next, your own folder of good parts:"
	@echo "  $(BIN)/python -m fre_lightning model=scattering dataset=folder dataset.root=DIR heatmaps=true"
	@echo "What else there is:  $(BIN)/python -m fre_lightning --help"

test: install
	$(PYTEST) -m "not slow"

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

# The quick tests with the lowest versions that pyproject.toml allows, in an environment of their own.
lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --extra dev pyproject.toml \
		--output-file $(LOWEST)/requirements.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python -r $(LOWEST)/requirements.txt
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --no-deps --editable .
	$(LOWEST)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m "not slow"

# The site, into site/; a warning is an error.
docs: install
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf $(VENV) $(LOWEST) dist build site .mypy_cache .pytest_cache .ruff_cache
