# Everything runs in .venv, which is made from requirements.lock on first use.

PYTHON ?= python3
POSTGRES_15 ?= /usr/lib/postgresql/15/bin

.PHONY: run web test check tests bench bench-scale bench-progress bench-live lock schema clean

run: .venv/installed
	@.venv/bin/python cli.py serve

# GraphiQL, which the server then shows at /graphql from its own files. Needs npm.
web: web/dist/index.html

web/dist/index.html: web/node_modules/installed $(wildcard web/*.ts web/*.json web/index.html web/src/*)
	@cd web && npm run --silent build -- --logLevel warn

web/node_modules/installed: web/package.json web/package-lock.json web/.npmrc
	@command -v npm > /dev/null || { echo "npm is needed, with Node.js 20.19 or later."; exit 1; }
	@cd web && npm ci --ignore-scripts --no-progress --loglevel=error
	@touch $@

test: check tests

check: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/squawk supabase/migrations/*.sql

# On the embedded Postgres, and on the system's Postgres 15 where there is one.
tests: .venv/installed
	.venv/bin/pytest -n 2
	@if [ -x $(POSTGRES_15)/postgres ]; then \
		echo "Again on $$($(POSTGRES_15)/postgres --version):"; \
		PG_BIN=$(POSTGRES_15) .venv/bin/pytest -n 2 -m "not any_postgres"; \
	else \
		echo "No Postgres 15 in $(POSTGRES_15): tested on the embedded one only."; \
	fi

# This server against PostGraphile, a conventional server and bare SQL. Takes some minutes; needs npm.
# DATA=folder of OULAD, DOCUMENTS=folder of documents, ROUNDS=5, SECONDS=2 of one measurement
bench: .venv/installed
	@.venv/bin/python -m bench.engine $(if $(DATA),--data '$(DATA)') $(if $(DOCUMENTS),--documents '$(DOCUMENTS)') \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS))

# What an admin of one very large community waits for: 1,000 programs, 200,000 enrolments, 60,000 members.
bench-scale: .venv/installed
	@.venv/bin/python -m bench.scale $(if $(SECONDS),--seconds $(SECONDS))

# Recording progress and asking for it in 200 communities. COMPLETIONS=20000000 instead of 2,000,000, DATA=folder of OULAD
bench-progress: .venv/installed
	@.venv/bin/python -m bench.progress $(if $(DATA),--data '$(DATA)') $(if $(COMPLETIONS),--completions $(COMPLETIONS))

# From a commit to those who watch, and what they cost.
bench-live: .venv/installed
	@.venv/bin/python -m bench.live

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making the environment in .venv (once, about half a minute)"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch .venv/installed

# Brings the lock file up to date with pyproject.toml.
lock: .venv/installed
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --upgrade \
		--no-header --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

# Prints the GraphQL schema that clients rely on.
schema: .venv/installed
	.venv/bin/python cli.py print-schema > schema/schema.graphql

clean:
	rm -rf web/dist web/node_modules test-artefacts
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
