# `make help` lists what can be made. Everything goes into .env/ and .cache/; nothing needs root or a ROS installation.

ROS_DISTRO ?= jazzy
PYTHON ?= python3
TESTS ?= test
PYTEST_ARGS ?=
VIDEO ?=

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ENV := .env/$(ROS_DISTRO)
BUILD := .env/build/$(ROS_DISTRO)
RUN := ROS_DISTRO=$(ROS_DISTRO) dev/run
NEEDS := dev/requirements
# What an interface build reads, and the names of what it links into the environment.
INTERFACES := $(wildcard msg/*.msg dev/*_msgs/msg/*.msg)
SOURCES := CMakeLists.txt package.xml $(wildcard dev/*_msgs/CMakeLists.txt dev/*_msgs/package.xml) $(INTERFACES)
PIP := $(ENV)/bin/python -m pip install -qq --disable-pip-version-check --retries 10
ALL_NEEDS := $(foreach name,run bags build,-r $(NEEDS)/$(name).txt)

.PHONY: help demo test check fix lint types env env-dev build video clean FORCE

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo "ROS_DISTRO=jazzy (default) or kilted; TESTS=test/test_x.py; PYTEST_ARGS='-k name'; VIDEO=any.mp4"

demo: build $(if $(VIDEO),,.cache/vtest.avi) ## play a street video through the node; VIDEO=... plays another
	@$(RUN) python dev/demo.py $(if $(VIDEO),--video '$(VIDEO)')

test: env-dev build ## run every test
	@$(PYTHON) dev/fetch_video.py || echo "Tests that need the video will be skipped." >&2
	@before=$$(dev/tree-hash); \
	$(RUN) python -m pytest --strict-config --timeout 900 $(TESTS) $(PYTEST_ARGS); \
	if [ "$(TESTS)$(PYTEST_ARGS)" = test ] && [ "$$before" = "$$(dev/tree-hash)" ]; then echo "$$before" >$(ENV)/.tested; fi

check: lint types ## format, lint, strict types, and the tests unless they have just passed on the same files
	@if [ -s $(ENV)/.tested ] && [ "$$(cat $(ENV)/.tested)" = "$$(dev/tree-hash)" ]; then \
		echo "Tests: passed already on exactly these files (\`make test\` runs them again)."; \
	else $(MAKE) --no-print-directory test TESTS=test PYTEST_ARGS=; fi

lint: env-dev
	@$(RUN) ruff format --check --diff .
	@$(RUN) ruff check .

types: env-dev build
	@$(RUN) mypy

fix: env-dev ## repair format and lint where that can be done
	@$(RUN) ruff check --fix . || true
	@$(RUN) ruff format .

env: $(ENV)/.env ## the environment that the node runs in: ROS 2 and its build tools from PyPI
env-dev: $(ENV)/.env-dev ## the environment, with what tests, learning and evaluation need
build: $(ENV)/.build ## the messages, and the package, installed into the environment

video: .cache/vtest.avi ## the street video of the demo and the tests, from a Debian package

clean: ## remove the environments and everything that was built
	rm -rf .env .mypy_cache .pytest_cache .ruff_cache .hypothesis demo

.cache/vtest.avi: dev/fetch_video.py
	@$(PYTHON) dev/fetch_video.py
	@touch $@

$(ENV)/bin/python:
	@dev/preflight '$(PYTHON)' '$(ROS_DISTRO)'
	@$(PYTHON) -m venv $(ENV)

$(ENV)/ros.txt: $(NEEDS)/ros.txt | $(ENV)/bin/python
	@sed -n -e 's/^$(ROS_DISTRO)://' -e 's/^[a-z0-9-]*$$/ros-$(ROS_DISTRO)-&/p' $< >$@

$(ENV)/.env: $(ENV)/ros.txt $(NEEDS)/run.txt $(NEEDS)/bags.txt $(NEEDS)/build.txt dev/relocate.py dev/editable.py
	@echo "Installing ROS 2 $(ROS_DISTRO) and what the node needs into $(ENV) ..."
	@$(PIP) -r $(ENV)/ros.txt $(ALL_NEEDS)
	@$(ENV)/bin/python dev/relocate.py
	@site=$$($(ENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	ln -sfn "$(CURDIR)/dev/editable.py" "$$site/alstm_ros_editable.py"; \
	echo 'import alstm_ros_editable' >"$$site/alstm_ros_editable.pth"
	@touch $@

$(ENV)/.env-dev: $(ENV)/.env $(NEEDS)/test.txt $(NEEDS)/test-no-deps.txt
	@echo "Installing what tests, learning and evaluation need into $(ENV) ..."
	@$(PIP) $(ALL_NEEDS) -r $(NEEDS)/test.txt
	@$(PIP) --no-deps -r $(NEEDS)/test-no-deps.txt
	@touch $@

# The names of the installed files, rewritten only when one comes or goes: an edit needs no build, a new file does.
$(ENV)/.names: FORCE | $(ENV)/bin/python
	@find $(wildcard alstm_ros launch config msg) -type f -not -path '*/__pycache__/*' | LC_ALL=C sort >$@.new; \
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(ENV)/.build: $(ENV)/.env $(ENV)/.names $(SOURCES)
	@echo "Building the messages into $(ENV) ..."
	@[ -e $(ENV)/local_setup.sh ] || touch $(ENV)/local_setup.sh # colcon warns of a prefix without one, and writes it
	@$(RUN) colcon --log-base $(BUILD)/log build --merge-install --symlink-install \
		--install-base $(ENV) --build-base $(BUILD) --base-paths . dev/vision_msgs dev/foxglove_msgs \
		--event-handlers console_direct- console_cohesion- --cmake-force-configure --cmake-args -GNinja \
		-DPython3_EXECUTABLE=$(CURDIR)/$(ENV)/bin/python -DPython3_FIND_VIRTUALENV=ONLY -DBUILD_TESTING=OFF
	@find $(ENV)/lib/python3.*/site-packages/alstm_ros $(ENV)/share/alstm_ros -xtype l -delete # of files that are gone
	@touch $@
