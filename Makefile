# `make demo` and `make test` are all that a new checkout needs; both make .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo
EXTRAS := .[clip,classifiers,text,endpoints,train,labels,numba,suites,hub,dev]

# Where it is set, as in many images, each of the processes that tests start compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# Type checkers and editors find `poolsieve.*` by folders, and the four packages stand at the top of the repository: links
# beside the real `poolsieve/__init__.py` lead to them. Git does not track them; a wheel is made without them.
LINKS  := $(addprefix poolsieve/,filters scoring_models dataflow jobs)

.PHONY: help venv demo demo-text demo-color demo-suite demo-dedup demo-pool docs test test-again engines test-clusters test-oldest test-gcp xet-server check lint types clean

help:  ## what there is
	@awk -F ':.*##' '/^[a-z-]+:.*##/ { printf "make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(LINKS) | $(BIN)/poolsieve  ## .venv with everything in it, and the links that editors and type checkers follow

$(LINKS):
	@ln -sfn ../$(notdir $@) $@

$(BIN)/poolsieve: pyproject.toml | $(LINKS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '$(EXTRAS)' || $(BIN)/pip install --quiet -e '$(EXTRAS)'
	$(BIN)/pip install --quiet --no-deps --force-reinstall fasttext-community==0.11.9  # it can train as well
	@touch $@

$(DEMO)/pool: | $(BIN)/poolsieve
	$(BIN)/python recipes/demo/make_pool.py $@

demo-pool: $(DEMO)/pool  ## a small pool with the ills of a real crawl, in demo/pool

demo: $(DEMO)/pool  ## build the pool, run DataComp's rules and a small DFN over it, say where the report is
	$(BIN)/poolsieve run recipes/datacomp_dfn.py --out $(DEMO)/out --truth $(DEMO)/pool/truth.parquet

$(DEMO)/documents: | $(BIN)/poolsieve
	$(BIN)/python recipes/demo/make_documents.py $@

demo-text: $(DEMO)/documents  ## FineWeb's chain and a small Celadon over a pool of documents
	$(BIN)/poolsieve run recipes/fineweb_celadon.py --out $(DEMO)/out-text --truth $(DEMO)/documents/truth.parquet \
		-p 'pool=$(DEMO)/documents/*.jsonl.zst' -p uid=id -p model=recipes/demo/celadon

$(DEMO)/texts: | $(BIN)/poolsieve
	$(BIN)/python recipes/demo/make_texts.py $@

demo-color: $(DEMO)/texts  ## train a tiny pair of language models, and choose texts by it: CoLoR-Filter in minutes
	$(BIN)/poolsieve train color --preset tiny --prior-pool '$(DEMO)/texts/pool/*.jsonl.zst' \
		--target $(DEMO)/texts/target.jsonl --out $(DEMO)/pair
	$(BIN)/poolsieve run recipes/color.py --out $(DEMO)/out-color --truth $(DEMO)/texts/truth.parquet \
		-p 'pool=$(DEMO)/texts/pool/*.jsonl.zst' -p uid=id -p pair=$(DEMO)/pair -p tau=10

$(DEMO)/suite: | $(BIN)/poolsieve
	$(BIN)/python recipes/demo/make_suite.py $@

SUITE := -p 'pool=$(DEMO)/suite/items/*.parquet' -p answers=$(DEMO)/suite/answers.parquet -p verdicts=$(DEMO)/suite/verdicts.parquet

demo-suite: $(DEMO)/suite  ## a benchmark with planted ills: plan, run, decide with another tau, export what is left
	$(BIN)/poolsieve plan recipes/suite.py --out $(DEMO)/out-suite $(SUITE)
	$(BIN)/poolsieve run recipes/suite.py --out $(DEMO)/out-suite --truth $(DEMO)/suite/truth.parquet $(SUITE)
	$(BIN)/poolsieve decide --out $(DEMO)/out-suite -p tau=6 --what-if
	$(BIN)/poolsieve export $(DEMO)/out-suite --to $(DEMO)/suite-kept --replace --scores
	$(BIN)/python recipes/demo/look_at_suite.py $(DEMO)/suite $(DEMO)/out-suite $(DEMO)/suite-kept

$(DEMO)/duplicates: | $(BIN)/poolsieve
	$(BIN)/python recipes/demo/make_duplicates.py $@

demo-dedup: $(DEMO)/duplicates  ## documents with planted copies and near copies: find them, try another threshold, see the clusters in the report
	$(BIN)/poolsieve run recipes/dedup.py --out $(DEMO)/out-dedup --truth $(DEMO)/duplicates/truth.parquet \
		-p 'pool=$(DEMO)/duplicates/*.jsonl.zst' -p uid=id -p best=quality
	$(BIN)/poolsieve decide --out $(DEMO)/out-dedup -p threshold=0.6 --what-if

docs: | $(BIN)/poolsieve  ## the pages that are made from the code: docs/rules.md, docs/cli.md
	$(BIN)/python docs/make_rules.py
	$(BIN)/python docs/make_cli.py

lint: | $(BIN)/poolsieve  ## ruff, and the arrows between packages and rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(LINKS) | $(BIN)/poolsieve  ## mypy, strict
	$(BIN)/mypy

# Four for two cores, since tests wait for processes and disks half of their time; 12 GB for all of them.
test: | $(BIN)/poolsieve  ## the tests
	$(BIN)/python -m pytest -n 4 --dist loadscope -m "not clusters" --durations=40

# Some tests kill and wait for processes, and may miss their moment on a machine that is busy: CI asks those that failed again.
test-again: | $(BIN)/poolsieve  ## the tests that failed last time, one by one
	$(BIN)/python -m pytest -m "not clusters" --last-failed --last-failed-no-failures none

engines: | $(BIN)/poolsieve  ## fetch and build what clusters of this machine are made of (Java 17, Maven, Go), all at a time
	$(BIN)/poolsieve cluster fetch

# A process for each engine, since each is mostly waited for; 8 GB for all of them.
test-clusters: | $(BIN)/poolsieve  ## real clusters of this machine: Spark, Flink, Prism, side by side (8 GB)
	$(BIN)/python -m pytest -m clusters -n 3 --dist loadfile --durations=40 tests/dataflow/runners

xet-server: | $(BIN)/poolsieve  ## build xet-core's storage server, for the tests that need it (cargo; minutes)
	$(BIN)/python -m tests.xet_server

# The oldest tenacity that pyproject.toml allows: what `poolsieve[gcp]` brings is older than the newest, by two minor versions.
OLDEST := $(VENV)/oldest

$(OLDEST): pyproject.toml | $(BIN)/poolsieve
	$(BIN)/pip install --quiet --no-deps --upgrade --target $@ \
		"$$(sed -n 's/.*"\(tenacity\)>=\([0-9.]*\)".*/\1==\2/p' pyproject.toml)"
	@touch $@

test-oldest: $(OLDEST)  ## what uses tenacity, with the oldest one that is declared
	PYTHONPATH=$(OLDEST) $(BIN)/python -m pytest tests/dataflow/test_storage_errors.py \
		tests/scoring_models/endpoints/test_endpoint.py

# A venv of its own: what Google's clients bring holds other packages back, and 800 MB are not for every checkout.
GCP := $(VENV)-gcp

$(GCP)/bin/poolsieve: pyproject.toml | $(LINKS)
	$(PYTHON) -m venv $(GCP)
	$(GCP)/bin/pip install --quiet uv  # which takes seconds for what takes pip minutes
	$(GCP)/bin/uv pip install --quiet --python $(GCP)/bin/python -e '.[gcp]' pytest pytest-xdist gcp-storage-emulator
	@touch $@

test-gcp: $(GCP)/bin/poolsieve  ## poolsieve[gcp]: that it imports, and jobs as Dataflow would get them
	$(GCP)/bin/pip check
	$(GCP)/bin/python -m pytest -n 2 --dist loadfile -p no:cacheprovider tests/dataflow/runners/test_dataflow.py \
		tests/dataflow/runners/test_gcp.py tests/dataflow/runners/test_on_dataflow.py

check: lint types test test-oldest  ## everything that CI checks

clean:  ## remove what the above made
	rm -rf $(VENV) $(GCP) $(DEMO) build poolsieve.egg-info
	rm -f $(LINKS)
