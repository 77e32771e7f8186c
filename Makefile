# Everything a developer types. `make demo` needs only Python; `make test` does all of its own set-up.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
ORACLE := .venv-oracle
PREFECT3 := .venv-prefect3
CHECKOV := .venv-checkov
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' runner/src/dask_flow/__init__.py)
IMAGE := localhost/dask-flow:dev
FLIGHTS_IMAGE := localhost/dask-flow-flights:dev
SEED_IMAGE := localhost/dask-flow-seed:dev
PREFECT_IMAGE := localhost/dask-flow-prefect
CHART := charts/dask-flow
DIST := dist
IN_VENV := $(VENV)/bin/python -m
# Most of their time, the end-to-end tests wait for pods.
E2E_PROCESSES ?= 3
# ct calls yamllint and yamale, which are in the virtual environment.
WITH_TOOLS := PATH=$$(tests/tools/install):$(CURDIR)/$(VENV)/bin:$$PATH

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo ## Run examples/flights.py on a local cluster
	$(VENV)/bin/dask-flow run examples/flights.py

test: browser lint types unit differential prefect chart e2e kueue $(if $(FULL),faults) ## Run all checks and tests, on a real Kubernetes node; FULL=1: those too that take long

test-fast: lint types unit differential prefect chart ## Run what needs no Kubernetes

lint: $(VENV)/dev ## Check the style of Python, YAML, shell and workflows
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/yamllint --strict .
	$(WITH_TOOLS) actionlint
	$(VENV)/bin/shellcheck -x tests/node/{apiserver,build,common.sh,down,image,load,up} tests/tools/install tests/registry/build tests/kueue/{build,digest} runner/entrypoint.sh .ci/run

types: $(VENV)/dev ## Check the types
	$(VENV)/bin/mypy

unit: $(VENV)/dev ## Run the unit tests
	$(IN_VENV) pytest tests/unit --numprocesses=auto

browser: ## Install Chromium and Graphviz (Debian, root), by which the tests look at pages and pictures
	@dpkg -s chromium graphviz >/dev/null 2>&1 || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium graphviz >/dev/null; }

differential: $(VENV)/dev $(ORACLE)/ready ## Compare flows with Prefect 1, on Python 3.11, and run the property tests
	$(IN_VENV) pytest tests/differential

prefect: $(ORACLE)/ready $(PREFECT3)/ready ## Run Prefect 1 and Prefect 3 flows with the real packages
	$(ORACLE)/bin/python -m pytest tests/prefect/test_prefect1.py
	$(PREFECT3)/bin/python -m pytest tests/prefect/test_prefect3.py

chart: $(VENV)/dev $(CHECKOV)/ready ## Run the chart's tests
	$(WITH_TOOLS) $(IN_VENV) pytest tests/chart

e2e: $(VENV)/dev $(if $(DASK_FLOW_TEST_KUBECONFIG),,node-load-seed node-load-prefect) ## Run the tests on a Kubernetes node
	$(WITH_TOOLS) $(IN_VENV) pytest tests/e2e -m "not alone and not kueue" --numprocesses=$(E2E_PROCESSES) --durations=15
	$(WITH_TOOLS) $(IN_VENV) pytest tests/e2e -m alone

kueue: $(VENV)/dev $(if $(DASK_FLOW_TEST_KUBECONFIG),,node-load) ## Run the tests with Kueue's controller, if FULL=1 or what they are about has changed since they passed
	@if [ -n "$(DASK_FLOW_TEST_KUBECONFIG)" ]; then \
	  echo "Left out: the tests with Kueue, which need the node of tests/node."; \
	elif [ -z "$(FULL)" ] && tests/kueue/digest | cmp -s - tests/kueue/passed; then \
	  echo "Left out: the tests with Kueue, which passed for this code (tests/kueue/passed). FULL=1 runs them."; \
	else \
	  $(WITH_TOOLS) $(IN_VENV) pytest tests/e2e/test_kueue.py --durations=15; \
	  tests/kueue/digest >tests/kueue/passed; \
	fi

faults: $(VENV)/dev $(if $(DASK_FLOW_TEST_KUBECONFIG),,node-load) ## Do over eighty faults to runs on a Kubernetes node, and see how each ends
	$(WITH_TOOLS) KUBECONFIG=$${DASK_FLOW_TEST_KUBECONFIG:-$$(tests/node/up)} $(VENV)/bin/python bench/faults.py \
	  --image $${DASK_FLOW_TEST_IMAGE:-$(IMAGE)} --processes $(E2E_PROCESSES) $(if $(DASK_FLOW_TEST_KUBECONFIG),,--api-server)

package: ## Package the chart, in dist/: the same bytes for the same commit
	rm -rf $(DIST)/chart
	mkdir -p $(DIST)
	cp -RL $(CHART) $(DIST)/chart
	@# Where the dependency is, its stand-in goes: Helm writes several charts in any order.
	if compgen -G '$(DIST)/chart/charts/*.tgz' >/dev/null; then rm -r $(DIST)/chart/charts/*/; fi
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $$(tests/tools/install)/helm package $(DIST)/chart --destination $(DIST)
	rm -r $(DIST)/chart

image: ## Build the runner's image, localhost/dask-flow:dev
	tests/node/image $(IMAGE) --build-arg VERSION=$(VERSION) .

image-flights: image ## Build the image of examples/flights.py
	BASE_IMAGE=$(IMAGE) tests/node/image $(FLIGHTS_IMAGE) -f examples/Dockerfile .

image-seed: image-flights ## Build the image that the test of the seeds' worker spec needs
	BASE_IMAGE=$(FLIGHTS_IMAGE) tests/node/image $(SEED_IMAGE) -f tests/e2e/seed/Dockerfile .

image-prefect1: image ## Build the image of examples/prefect1_flow.py
	BASE_IMAGE=$(IMAGE) tests/node/image $(PREFECT_IMAGE)1:dev --build-arg EXTRA=prefect1 -f tests/e2e/prefect/Dockerfile tests/prefect

image-prefect3: image ## Build the image of examples/prefect3_flow.py
	BASE_IMAGE=$(IMAGE) tests/node/image $(PREFECT_IMAGE)3:dev --build-arg EXTRA=prefect -f tests/e2e/prefect/Dockerfile tests/prefect

node-up: ## Start a Kubernetes node on this machine (Debian, root) and print its kubeconfig
	@tests/node/up

node-load: export BUILDER := buildah
node-load: node-up image-flights ## Build the images and put them on the node
	@tests/node/load $(IMAGE) $(FLIGHTS_IMAGE)

node-load-seed: export BUILDER := buildah
node-load-seed: node-load image-seed
	@tests/node/load $(SEED_IMAGE)

node-load-prefect: export BUILDER := buildah
node-load-prefect: node-load image-prefect1 image-prefect3
	@tests/node/load $(PREFECT_IMAGE)1:dev $(PREFECT_IMAGE)3:dev

node-down: ## Stop the node
	@tests/node/down

lock: $(VENV)/dev ## Renew the lock files
	$(VENV)/bin/uv pip compile --quiet --upgrade runner/pyproject.toml --extra image --universal --python-version 3.13 \
	  --generate-hashes --no-annotate --custom-compile-command "make lock" --output-file runner/requirements.lock
	$(VENV)/bin/uv pip compile --quiet --upgrade requirements-dev.in --universal --python-version 3.11 \
	  --no-annotate --custom-compile-command "make lock" --output-file requirements-dev.lock
	for extra in prefect prefect1; do \
	  $(VENV)/bin/uv pip compile --quiet --upgrade tests/prefect/$$extra.in --universal --python-version 3.11 \
	    --no-annotate --custom-compile-command "make lock" --output-file tests/prefect/$$extra.lock; \
	done
	$(VENV)/bin/uv pip compile --quiet --upgrade tests/tools/checkov.in --universal --python-version 3.11 \
	  --no-annotate --custom-compile-command "make lock" --output-file tests/tools/checkov.lock

docs: $(VENV)/dev ## Renew what is generated: the chart's README and its changes for Artifact Hub, what its schema repeats, docs/cli.md and docs/values.md
	$(PYTHON) tests/tools/chart_changes.py
	$$(tests/tools/install)/helm-docs --chart-search-root charts --log-level error
	$(VENV)/bin/python tests/tools/values_schema.py
	$(VENV)/bin/python docs/site/reference.py

site: $(VENV)/dev ## Build the docs site into build/site
	NO_MKDOCS_2_WARNING=1 $(IN_VENV) mkdocs build --strict --quiet

schema: $(VENV)/dev ## Renew the schemas of pod specs, from the test node's API server, and of the chart's kinds, from Kubernetes' Go modules
	KUBECONFIG=$$(tests/node/up) $(VENV)/bin/python tests/tools/pod_schema.py >$(VENV)/pod_schema.json
	mv $(VENV)/pod_schema.json runner/src/dask_flow/pod_schema.json
	$(VENV)/bin/python tests/tools/kubernetes_schemas.py >$(VENV)/kubernetes_schemas.json
	mv $(VENV)/kubernetes_schemas.json tests/chart/kubernetes_schemas.json

clean: ## Delete the virtual environment and caches of this folder
	rm -rf $(VENV) $(ORACLE) $(PREFECT3) $(CHECKOV) .mypy_cache .pytest_cache .ruff_cache

# The demo's packages are the developer's, in the same versions, but fewer.
$(VENV)/demo: requirements-dev.lock runner/pyproject.toml examples/requirements.txt
	$(PYTHON) -m venv $(VENV)
	grep -v '^-e' requirements-dev.lock >$(VENV)/constraints.txt
	$(IN_VENV) pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e 'runner[dashboard]' -r examples/requirements.txt
	touch $@

$(VENV)/dev: $(VENV)/demo requirements-dev.lock
	$(IN_VENV) pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	touch $@

$(ORACLE)/ready: tests/prefect/prefect1.lock
$(PREFECT3)/ready: tests/prefect/prefect.lock
$(ORACLE)/ready $(PREFECT3)/ready: runner/pyproject.toml
$(CHECKOV)/ready: tests/tools/checkov.lock
$(ORACLE)/ready $(PREFECT3)/ready $(CHECKOV)/ready:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $(filter %.lock,$^)
	touch $@

.PHONY: help demo test test-fast lint types unit browser differential prefect chart e2e kueue faults image image-flights image-seed image-prefect1 image-prefect3 node-up node-load node-load-seed node-load-prefect node-down lock docs schema clean site package
