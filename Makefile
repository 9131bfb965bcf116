# `make` alone prints this help.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
T ?= tests
WORKERS ?= auto
# What is compiled is kept, whatever the environment says: tests start the service some hundred times.
KEPT := PYTHONDONTWRITEBYTECODE=
CLIENTS := tests/clients/node_modules/.installed
PROMISE := $(addprefix ../../schema/,released.graphql schema.graphql breaking.json)
ADDED := $(addprefix ../../schema/,released.graphql schema.graphql)

.PHONY: help
help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

# The environment is made anew when its locked requirements change.
$(VENV)/.serve: requirements.txt
	@echo "Installing the locked requirements into $(VENV), once …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.develop: requirements-dev.txt
	@echo "Installing the locked requirements into $(VENV), once …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.serve

# The clients of others that tests drive the service with, and what compares contracts: by Node 20, from npm.
$(CLIENTS): tests/clients/package-lock.json
	@command -v npm > /dev/null || { echo "Node 20 and npm are needed for this: tests drive the service with their clients." >&2; exit 1; }
	@echo "Installing the locked clients into tests/clients, once …"
	@cd tests/clients && npm ci --silent
	@touch $@

.PHONY: setup
setup: $(VENV)/.develop $(CLIENTS)  ## the environment for working on Fieldward

.PHONY: demo
demo: $(VENV)/.serve  ## the service with an embedded PostgreSQL and demo data, on 127.0.0.1:8000
	@exec $(BIN)/python -m fieldward demo

.PHONY: test
test: $(VENV)/.develop $(CLIENTS)  ## all tests, or those of T=path, by as many processes as there are cores
	@$(KEPT) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(T)

.PHONY: again
again: $(VENV)/.develop $(CLIENTS)  ## the files of the tests that failed last, with nothing beside them
	@$(KEPT) $(BIN)/python -m tests.support.again

.PHONY: check
check: $(VENV)/.develop $(CLIENTS)  ## format, lint, types, import directions, the printed schema and pages: equals CI
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m fieldward schema --check schema/schema.graphql
	@cd tests/clients && node contract.mjs $(PROMISE) --quiet
	@cd tests/clients && node added.mjs $(ADDED) ../../schema/unpromised.txt
	@$(BIN)/python -m fieldward access matrix --check docs/access.md
	@$(BIN)/python -m fieldward inventory --check docs/data-inventory.md
	@$(BIN)/python -m fieldward errors --check docs/errors.md
	@$(BIN)/python -m fieldward measures --check docs/security/measures.md
	@$(BIN)/python -m supply licences --check docs/licences.md

.PHONY: sbom
sbom: $(VENV)/.develop  ## write the bill of materials of what is served into sbom.json, as CycloneDX
	@$(BIN)/python -m supply sbom > sbom.json

.PHONY: licences
licences: $(VENV)/.develop  ## print the licences of what is served with into docs/licences.md; fails for one that is not taken
	@$(BIN)/python -m supply licences > docs/licences.md

.PHONY: audit
audit: $(VENV)/.develop $(CLIENTS)  ## ask what vulnerabilities are known of all that is locked; without a network NOT CHECKED
	@$(BIN)/python -m supply audit

.PHONY: bench
bench: $(VENV)/.develop  ## measure Fieldward beside its peers, with ARGS="run --seconds 3" a part of it; see bench/README.md
	@$(BIN)/python -m bench $(or $(ARGS),all)

.PHONY: drill
drill: $(VENV)/.develop  ## go through what must hold in bad hours, at full size, with ARGS="rotation" one of them; see drills/README.md
	@$(KEPT) $(BIN)/python -m drills $(or $(ARGS),all)

.PHONY: counts
counts: $(VENV)/.develop  ## count what a request takes, without a clock, and compare with the last commit; fails where it grew
	@$(BIN)/python -m bench counts $(or $(ARGS),--check)

.PHONY: costs
costs: $(VENV)/.develop  ## write anew what operations cost in statements and decisions, into tests/api/costs.toml
	@$(BIN)/python -m pytest -q tests/api/test_cost.py --write-costs

.PHONY: fix
fix: $(VENV)/.develop  ## format, and mend what the linter can
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

.PHONY: schema
schema: $(VENV)/.develop $(CLIENTS)  ## print the contract into schema/schema.graphql, and list what of it is not promised yet
	@$(BIN)/python -m fieldward schema > schema/schema.graphql
	@cd tests/clients && node added.mjs $(ADDED) > ../../schema/unpromised.txt

.PHONY: contract
contract: $(CLIENTS)  ## tell what of the contract is not as clients were promised; fails where it breaks them undeclared
	@cd tests/clients && node contract.mjs $(PROMISE)

.PHONY: promise
promise: contract  ## promise clients the contract as it is, at a release: nothing is declared or listed from then on
	@cp schema/schema.graphql schema/released.graphql
	@echo '[]' > schema/breaking.json
	@: > schema/unpromised.txt

.PHONY: pages
pages:  ## build the vendored pages from npm again
	@cd fieldward/pages/build && npm ci --silent && npm run --silent build

.PHONY: lock
lock: $(VENV)/.develop  ## resolve the requirements again; needs uv
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml -o requirements.txt
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --extra providers -o requirements-providers.txt
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --group dev -o requirements-dev.txt
	@uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --quiet --group drills -o drills/requirements-patroni.txt
	@echo 'psycopg2; sys_platform == "never"' | uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --override - --group barman -o drills/requirements-barman.txt

.PHONY: access
access: $(VENV)/.develop  ## print who may do what into docs/access.md
	@$(BIN)/python -m fieldward access matrix > docs/access.md

.PHONY: inventory
inventory: $(VENV)/.develop  ## print what is stored, and how it is protected, into docs/data-inventory.md
	@$(BIN)/python -m fieldward inventory > docs/data-inventory.md

.PHONY: errors
errors: $(VENV)/.develop  ## print the catalogue of errors into docs/errors.md
	@$(BIN)/python -m fieldward errors > docs/errors.md

.PHONY: measures
measures: $(VENV)/.develop  ## print the promised measures into docs/security/measures.md
	@$(BIN)/python -m fieldward measures > docs/security/measures.md
