# Every target creates the environment that it needs; later runs reuse it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo
PICTURES ?=
FUZZ_SECONDS ?= 20

.PHONY: demo test test-all test-oldest lint types unit slow fuzz robustness audit docs browser lock clean

demo: $(VENV)/.demo   ## segment real photographs with the bundled models
	@$(BIN)/python scripts/demo.py -o $(OUT) $(PICTURES)

test: lint types unit  ## lint, types and the fast tests

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy

unit: $(VENV)/.dev
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

slow: $(VENV)/.dev     ## the tests that take minutes
	@$(BIN)/pytest -q -m slow

fuzz: $(VENV)/.dev     ## coverage-guided fuzzing of the code that decodes files, FUZZ_SECONDS per target (needs atheris)
	@for target in labels config folder safetensors checkpoint resumed; do \
	  $(BIN)/python fuzz/decoders.py $$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 \
	    -print_final_stats=1 -verbosity=0 || exit 1; done

robustness: $(VENV)/.dev  ## hundreds of bad inputs through every command and the server, as a table
	@PYTHONPATH=. $(BIN)/python benchmarks/robustness.py

audit: $(VENV)/.dev    ## known vulnerabilities in the locked versions (needs pip-audit and its advisory service)
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements/demo.txt

docs: $(VENV)/.dev     ## the docs as a site; broken links are errors: open out/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is in out/site/index.html"

browser: $(VENV)/.dev  ## a page that segments pictures in the browser: open out/browser/index.html (needs npm)
	@npm ci --prefix browser --no-audit --no-fund --loglevel=error
	@$(BIN)/python browser/models.py out/browser
	@node browser/build.mjs out/browser

test-all:              ## the fast tests on every supported Python that is installed, and on the lowest versions
	@scripts/test_all.sh

test-oldest:           ## the fast tests with the lowest versions that pyproject.toml allows
	@scripts/test_all.sh oldest

lock:                  ## update the locked versions
	@uv pip compile -q pyproject.toml --extra demo --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -o requirements/demo.txt
	@uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -o requirements/dev.txt

$(VENV)/.demo: requirements/demo.txt pyproject.toml
	@scripts/environment.sh $(VENV) requirements/demo.txt "$(PYTHON)"
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml
	@scripts/environment.sh $(VENV) requirements/dev.txt "$(PYTHON)"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) $(VENV)-* out .mypy_cache .ruff_cache .pytest_cache
