# `make` lists what there is. Needs a Python 3.11 and nothing else; works from any folder with `make -C` or `make -f`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON := .venv/bin/python
HERE := $(realpath $(dir $(lastword $(MAKEFILE_LIST))))

ifneq ($(HERE),$(CURDIR))
help demo run stop env test faults fuzz lint lock sbom bench bench-soak screenshots:
	@$(MAKE) --no-print-directory -C '$(HERE)' $@
else

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: .venv/ready env ## set everything up and push a sample order through a dropzone
	$(PYTHON) manage.py demo

.PHONY: run
run: .venv/ready env ## web at http://127.0.0.1:8000 and the worker, until Ctrl-C
	$(PYTHON) manage.py run

.PHONY: stop
stop: .venv/ready ## stop the embedded PostgreSQL
	@$(PYTHON) -m erpconfig.bootstrap stop

.PHONY: env
env: .venv/ready ## write a .env with fresh keys, unless there is one
	@$(PYTHON) -m erpconfig.bootstrap env

.PHONY: test
test: .venv/ready-dev ## run all tests; installs OpenSSH, chromium and Tryton if it may
	@.ci/tryton & .ci/test-tools; wait
	$(PYTHON) -m pytest -n 3

.PHONY: faults
faults: .venv/ready-dev ## break everything at random: SEED=… ROUNDS=… for other or more rounds
	@.ci/test-tools
	$(PYTHON) -m connectors.tests.faults $(if $(SEED),--seed $(SEED)) --rounds $(or $(ROUNDS),5)
	FAULTS_EXAMPLES=200 $(PYTHON) -m pytest -q -n 2 $(if $(SEED),--hypothesis-seed $(SEED)) \
	    connectors/tests/faults/test_state_machine.py

.PHONY: fuzz
fuzz: .venv/ready-dev ## ask the API and the parsers anything: SEED=… EXAMPLES=… for others or more
	FUZZ_SEED=$(or $(SEED),$(shell date +%s)) FUZZ_EXAMPLES=$(or $(EXAMPLES),100) $(PYTHON) -m pytest -q -n 2 \
	    --show-capture=stdout connectors/tests/fuzz

.PHONY: lint
lint: .venv/ready-dev ## format, types, layers, migrations, security
	.ci/lint

.PHONY: lock
lock: .venv/ready-dev ## pin every package of production with its hashes: requirements.lock
	@printf '%s\n' '# What production installs, to the byte: made from requirements.txt by `make lock`, for Python 3.11.' >requirements.new
	.venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links -o - requirements.txt >>requirements.new
	@mv requirements.new requirements.lock

.PHONY: sbom
sbom: .venv/ready-dev ## write the bill of materials, docs/sbom
	$(PYTHON) .ci/sbom

.PHONY: bench
bench: .venv/ready-dev ## measure the hot paths against their floors
	$(PYTHON) -m bench.encryption
	$(PYTHON) -m bench.rotation
	$(PYTHON) -m bench.registry
	$(PYTHON) -m bench.render
	$(PYTHON) -m bench.filesystem_drop
	$(PYTHON) -m bench.blackholes
	$(PYTHON) -m bench.sftp_test
	$(PYTHON) -m bench.sftp_window
	$(PYTHON) -m bench.latency
	$(PYTHON) -m bench.delivery
	$(PYTHON) -m bench.submit
	$(PYTHON) -m bench.list
	$(PYTHON) -m bench.row_security
	$(PYTHON) -m bench.scale

.PHONY: bench-soak
bench-soak: .venv/ready-dev ## push 100,000 orders through everything and count them at the far ends
	$(PYTHON) -m bench.soak

.PHONY: screenshots
screenshots: .venv/ready-dev ## take those of docs/screenshots from the real application
	@.ci/test-tools
	$(PYTHON) docs/screenshots/take.py

.venv/ready: requirements.txt requirements-embedded.txt .ci/venv
	@.ci/venv requirements.txt requirements-embedded.txt
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	@.ci/venv requirements-dev.txt
	@touch $@

endif
