# Every target sets up what it needs by itself, in .venv, from python3 alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
JS_READY := clients/js/node_modules/.installed-lock.json clients/web/node_modules/.installed-lock.json
PROMTOOL := $(BIN)/promtool
BROWSER_READY := tests/browser/node_modules/.installed-lock.json
JS_CLIENT := clients/js/dist/browser.js

.PHONY: help setup demo test check style pages bench packages try-packages lock clean

help:            ## list the targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: $(READY) $(JS_READY)  ## make .venv with Outlast and its tools in it, and install those of the JavaScript client and the pages

$(READY): pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

clients/%/node_modules/.installed-lock.json: clients/%/package-lock.json scripts/setup_js.sh
	@sh scripts/setup_js.sh clients/$*
	@touch $@

$(BROWSER_READY): tests/browser/package-lock.json scripts/setup_browser.sh scripts/setup_js.sh
	@sh scripts/setup_browser.sh
	@touch $@

$(PROMTOOL): scripts/setup_promtool.sh | $(READY)
	@sh scripts/setup_promtool.sh $(BIN)
	@touch -h $@

# The folders count, too: a source that is taken away must not live on.
$(JS_CLIENT): $(shell find clients/js/src) $(wildcard clients/js/*.js*) clients/js/node_modules/.installed-lock.json
	@cd clients/js && npm run --silent build

demo: $(READY)   ## watch an agent's work survive cut connections and a killed broker
	@$(BIN)/outlast demo

test: check $(JS_READY) $(JS_CLIENT) $(BROWSER_READY) $(PROMTOOL)  ## check, then run every test
	$(BIN)/python -X dev -W error -m pytest --dist loadfile --no-loadscope-reorder --tx '2*popen//python=$(BIN)/python -X dev -W error' $(PYTEST)

check: $(READY)  ## ruff, mypy --strict and the house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_tidy.py

style: $(READY)  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pages: $(JS_READY)  ## build the console, and the demo's page, into the packages that serve them
	@node clients/web/build.js

bench: $(READY)  ## measure Outlast on this machine
	$(BIN)/python -m bench

packages: $(READY)  ## build the wheel, the sdist, the Debian package and the lists of what is in them
	@$(BIN)/python -m pip install --quiet --group packages
	@rm -rf dist
	@sh scripts/packages/build_python.sh
	@sh scripts/packages/build_sbom.sh
	@sh scripts/packages/build_deb.sh

try-packages: packages  ## install the Debian package here, run it and purge it: on a machine that is thrown away
	@sh scripts/packages/try_deb.sh

lock: $(READY)   ## pin what the packages bring along
	@$(BIN)/python -m pip install --quiet --group packages
	@sh scripts/packages/lock.sh

clean:           ## remove what setup made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist clients/js/node_modules clients/js/dist clients/web/node_modules tests/browser/node_modules
