# The commands of README.md. `make quickstart` and `make test` set up .venv by themselves.
PYTHON_ENV := .venv/bin/python
SEMCOLOR := .venv/bin/semcolor
QUICKSTART := runs/quickstart

BENCH_PYTHON ?= .venv-bench/bin/python
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: setup quickstart notebooks wheel docs browser benchmark parity beam test test-fast test-all soak mutation coverage lint types format clean

# Two stamps, so that `make setup CUDA=1` after a plain set-up installs the NVIDIA build, and so that no later target
# takes it away again: it stays until `make clean`.
CUDA ?= $(if $(wildcard .venv/.ready-cuda),1)
READY := .venv/.ready$(if $(CUDA),-cuda)
REQUIREMENTS := requirements.txt requirements/base.txt requirements/train.txt requirements/score.txt \
  requirements/export.txt requirements/web.txt requirements/video.txt requirements/dev.txt

setup: $(READY)

$(READY): $(REQUIREMENTS) requirements/cuda.txt constraints.txt pyproject.toml setup.py tools/setup.sh
	@CUDA=$(CUDA) sh tools/setup.sh
	@touch $@

quickstart: setup
	$(SEMCOLOR) train --config quickstart --workdir $(QUICKSTART)
	$(SEMCOLOR) evaluate --model $(QUICKSTART)
	$(SEMCOLOR) data sample-photos -o $(QUICKSTART)/photos
	$(SEMCOLOR) colorize $(QUICKSTART)/photos -o $(QUICKSTART)/colorized --model $(QUICKSTART)
	$(SEMCOLOR) colorize $(QUICKSTART)/photos -o $(QUICKSTART)/colorized_release
	@echo "Look at $(QUICKSTART)/samples.png, $(QUICKSTART)/colorized and $(QUICKSTART)/colorized_release; the numbers are in $(QUICKSTART)/metrics.json."

# Runs every notebook; the copies with their outputs are in runs/notebooks.
notebooks: setup
	mkdir -p runs/notebooks
	.venv/bin/jupyter-execute --timeout=600 --output='../runs/notebooks/{notebook_name}' notebooks/*.ipynb

# Builds the wheel, and tries it in an empty environment in another folder.
wheel: setup
	sh tools/check_wheel.sh $(PYTHON_ENV)

# The documentation as a site, in runs/site; warnings are errors.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(PYTHON_ENV) -m mkdocs build --strict --quiet

# A browser for the tests of the page, which are skipped where there is none: Debian's Chromium, unless one is there.
BROWSERS := chromium chromium-browser google-chrome
browser:
	@for name in $(BROWSERS); do command -v $$name && exit 0; done; sudo=; test "$$(id -u)" = 0 || sudo="sudo -n"; \
	  { $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium; } || \
	  { echo "error: Chromium could not be installed by apt-get: install it by hand."; exit 2; }

# Needs an environment of its own: docs/performance.md, "Running the benchmarks". PHOTOS: a folder data set with labels.
benchmark:
	@test -x $(BENCH_PYTHON) || { echo "error: no $(BENCH_PYTHON); set it up as docs/performance.md says."; exit 2; }
	@set -e; for name in input_pipeline train_step inference cold_start soft_encoding; do \
	  options=; test $$name != input_pipeline -o -z "$(PHOTOS)" || options="--dir $(PHOTOS)"; \
	  $(BENCH_PYTHON) experiments/benchmarks/$$name.py $$options; done

# As many processes as cores; a file's tests stay in one, so that they share what is compiled.
PYTEST := $(PYTHON_ENV) -m pytest --numprocesses auto --dist loadfile

# The tests that take seconds each.
test test-fast: setup
	$(PYTEST) -m "not slow"

# All of them.
test-all: setup
	$(PYTEST) --durations 20

# The tests that compare with PyTorch packages, in an environment of their own.
parity: .venv-parity/.ready
	.venv-parity/bin/python -m pytest -m parity

.venv-parity/.ready: $(REQUIREMENTS) requirements/parity.txt constraints.txt | setup
	rm -rf .venv-parity
	$(PYTHON_ENV) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --extra-index-url $(TORCH_INDEX) -c constraints.txt \
	  -r requirements.txt -r requirements/dev.txt -r requirements/parity.txt
	.venv-parity/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

# The tests that need Apache Beam, which does not install beside constraints.txt: an environment of its own.
BEAM_TESTS := tests/data/test_beam.py tests/data/test_prepare_at_scale.py tests/scenes/test_label_at_scale.py
beam: .venv-beam/.ready
	.venv-beam/bin/python -m pytest $(BEAM_TESTS)

.venv-beam/.ready: requirements/base.txt requirements/train.txt requirements/beam.txt constraints-beam.txt pyproject.toml | setup
	rm -rf .venv-beam
	$(PYTHON_ENV) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet -c constraints-beam.txt -r requirements/base.txt \
	  -r requirements/train.txt -r requirements/beam.txt pytest beartype hypothesis
	.venv-beam/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Two minutes of fuzzing for each kind of file that strangers make; 30 kills at random moments; flat memory over 5,000
# steps, and over an hour of `semcolor serve`.
soak: setup
	$(PYTHON_ENV) -m pip install --quiet -c constraints.txt -r requirements/soak.txt
	$(PYTHON_ENV) tools/soak/fuzz_photos.py -max_total_time=120
	$(PYTHON_ENV) tools/soak/fuzz_weights.py -max_total_time=120
	$(PYTHON_ENV) experiments/soak/kills.py
	$(PYTHON_ENV) experiments/soak/long_training.py
	$(PYTHON_ENV) experiments/soak/long_serving.py

# Do the tests notice small faults? 400 of them in color, losses and metrics: hours.
mutation: setup
	$(PYTHON_ENV) -m pip install --quiet -c constraints.txt -r requirements/soak.txt
	$(PYTHON_ENV) tools/soak/mutation.py

# Which lines and branches the tests of `make test` run; runs/coverage/index.html shows the others.
coverage: setup
	$(PYTEST) -m "not slow" --cov semcolor_jax --cov-branch --cov-report term:skip-covered --cov-report html:runs/coverage

lint: setup
	$(PYTHON_ENV) -m ruff check .
	$(PYTHON_ENV) -m ruff format --check .

types: setup
	$(PYTHON_ENV) -m pyright --pythonpath $(PYTHON_ENV)

format: setup
	$(PYTHON_ENV) -m ruff check --fix .
	$(PYTHON_ENV) -m ruff format .

clean:
	rm -rf .venv .venv-parity .venv-beam runs build *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
