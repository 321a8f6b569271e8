# make demo · make test · make format · make bench · make bench-accuracy · make bench-peers (FORCE=--force measures all anew)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
PEERS_PINS := benchmarks/peers/constraints.txt
PEERS_STAMP := $(PEERS)/.installed
PEERS_PIP := $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PEERS_PINS)
OUT ?= openbook-demo

.PHONY: demo test browser format bench bench-accuracy bench-peers clean bench-speed

$(STAMP): pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/openbook demo --out $(OUT)

# The report's tests open it in Chromium; without one, and without the right to install it, they are skipped and say so.
browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null 2>&1 \
	  || echo "no Chromium here: browser tests will be skipped"

# GPU kernels are tested in Triton's interpreter where there is no GPU; nothing else needs the package.
$(VENV)/.triton: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt triton && touch $@ \
	  || echo "no Triton here: its tests will be skipped"

test: $(STAMP) $(VENV)/.triton browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/python -m benchmarks.main_job $(FORCE)
	$(BIN)/python -m benchmarks.reference $(FORCE)
	$(BIN)/python -m benchmarks.tables

# SUITE: one of benchmarks/suites.py, all where it is left out; ARGS: further arguments of benchmarks.accuracy.
bench-accuracy: $(STAMP)
	$(BIN)/python -m benchmarks.accuracy $(if $(SUITE),--suite $(SUITE)) $(ARGS) $(FORCE)
	$(BIN)/python -m benchmarks.tables

# No speed is told while a kernel is wrong. Nothing else should run meanwhile.
bench-speed: $(STAMP)
	$(BIN)/python -m pytest -q tests/ops -m "not slow"
	$(BIN)/python -m benchmarks.speed --force
	$(BIN)/python -m benchmarks.kept --force
	$(BIN)/python -m benchmarks.reference --force --case darnn_step
	$(BIN)/python -m benchmarks.main_job --force --case gathering
	$(BIN)/python -m benchmarks.tables

# Other libraries live apart: they bring a good gigabyte and versions of their own.
$(PEERS_STAMP): $(PEERS_PINS)
	$(PEERS)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(PEERS)
	$(PEERS_PIP) "torch==$$(sed -n 's/^torch==//p' $(PEERS_PINS))"
	$(PEERS_PIP) neuralforecast mlforecast lightgbm darts pytorch-forecasting
	touch $(PEERS_STAMP)

# LightGBM on the suites that its cost allows: not 720 steps of quarters of an hour, one by one.
TREES := etth1 etth2 illness exchange epf_np_past epf_np_known epf_pjm_past epf_pjm_known epf_de_past epf_de_known \
	sml2010_forecast sml2010_nowcast pm25 m4_hourly small_demand vic_elec

# Networks of neuralforecast as long as ours: one horizon of these suites, one seed.
NETWORKS := etth1 illness exchange epf_np_known sml2010_forecast pm25 m4_hourly vic_elec
FIRST := --case 96 --case 24 --case 1 --case 48 --seed 1

bench-peers: $(STAMP) $(PEERS_STAMP)
	$(BIN)/python -m benchmarks.end_to_end $(FORCE)
	$(BIN)/python -m benchmarks.accuracy --model lightgbm $(addprefix --suite ,$(TREES)) $(FORCE)
	$(BIN)/python -m benchmarks.accuracy --model nhits --model patchtst --model lstm $(FIRST) $(addprefix --suite ,$(NETWORKS)) $(FORCE)
	$(BIN)/python -m benchmarks.tables

clean:
	rm -rf $(VENV) $(PEERS) build dist .mypy_cache .ruff_cache .pytest_cache
	find src -name '*.nb[ic]' -delete
