# What a user runs. Each target sets up and builds what it needs, and nothing when nothing is needed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 300
PROGRAM := build/release/tessera

.PHONY: help demo build test e2e bench peers format check lint size parity fuzz install uninstall setup setup-gpu clean

help:  ## this list
	@echo "tessera: text, pictures, speech and music as tokens of one sequence"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build  ## set up, build, and show what works on bundled files
	@$(PROGRAM) demo

build:  ## set up and build build/release/tessera
	@tools/setup.sh demo
	@tools/build.sh release tessera_program libtessera.so

test:  ## every test that needs no GPU; the last lines are the summary
	@tools/test.sh

e2e: build  ## the server with the real openai package, its page in Chromium (packages go into build/e2e)
	@tools/setup.sh parity
	@[ -x build/e2e/bin/python ] || python3 -m venv build/e2e
	@build/e2e/bin/python -c 'import openai, playwright' 2>/dev/null || build/e2e/bin/pip install -q openai playwright
	@build/e2e/bin/python tests/e2e/openai_client.py $(PROGRAM) models/tessera-mini
	@PYTHON=$$PWD/build/e2e/bin/python tests/e2e/web/run.sh

bench: build  ## measure this machine, and what tessera does on it
	@bench/run.py

peers:  ## build llama.cpp in the cache and measure beside it
	@tools/setup.sh demo
	@$(MAKE) --no-print-directory build
	@bench/peers/llama_cpp.sh

format:  ## format the C++ sources
	@tools/setup.sh format
	@tools/format.sh

check:  ## format, layers and sizes, as CI checks them
	@tools/setup.sh format
	@tools/format.sh --check
	@tools/check_layers.py
	@tools/check_size.sh

lint:  ## clang-tidy on the files that differ from the main branch
	@tools/setup.sh lint test
	@tools/lint.sh

size:  ## sizes of the tree and of the bundled weights; fails above the limits
	@tools/check_size.sh

parity:  ## regenerate the goldens with other seeds from the reference packages, and run the tests on them
	@tools/setup.sh parity test
	@tools/parity.sh

fuzz:  ## fuzz every reader for FUZZ_SECONDS each (300)
	@tools/setup.sh test
	@tools/build.sh asan --tests -DFUZZ_SECONDS=$(FUZZ_SECONDS)
	@cd build/asan && ctest -L fuzz --no-tests=error --output-on-failure

install:  ## install below PREFIX (/usr/local); DESTDIR is honoured
	@tools/install.sh install "$(PREFIX)" "$(DESTDIR)"

uninstall:  ## remove what install put below PREFIX
	@tools/install.sh uninstall "$(PREFIX)" "$(DESTDIR)"

setup:  ## only the set-up: Debian packages and libtorch
	@tools/setup.sh test

setup-gpu:  ## additionally libtorch's CUDA side (2.5 GB to fetch)
	@tools/setup.sh demo gpu

clean:  ## remove build/ (the cache with libtorch stays)
	@rm -rf build
