# What a person does with this repository. `make` alone lists it.
#
# Everything that a bare machine lacks is installed or built by the targets that need it, once, outside the tree.
# LAB=name        works on another lab than the usual one; two labs do not meet
# KUBECONFIG=...  works on a cluster of your own instead of the lab

PYTHON3 ?= python3
PYTHON := .venv/bin/python
BOOTSTRAP := @$(PYTHON3) -m tools.bootstrap
CLUSTER := $(PYTHON) -m tests.lab.cluster
PYTEST := $(PYTHON) -m pytest
AT_ONCE := --numprocesses=2 --dist=loadfile
# Each process has a lab of its own. A cluster of your own is one, and has one operator. Real pods under real load keep two
# cores busy by themselves, so that tests end to end run one after the other.
LABS_AT_ONCE := $(AT_ONCE) --no-loadscope-reorder
NS ?= default

.DEFAULT_GOAL := help
.PHONY: help demo test lint unit lab e2e bench crds images install clean \
        prepare prepare-helm prepare-unit prepare-lab prepare-tests prepare-bench prepare-images \
        lab-up lab-down lab-status lab-shell lab-forward

help: ## this list
	@grep -E '^[a-z0-9-]+:.* ## ' Makefile | sed 's/:.* ## /\t/' | expand -t 16

demo: prepare-images ## the 618 campaign on a real Kubernetes, start to end (KEEP=1 leaves it up)
	$(PYTHON) examples/618/demo.py $(if $(KEEP),--keep)

test: lint unit lab e2e ## everything that must hold before a change goes in

lint: prepare ## style, types, import rules, and that crds/ is what the models say
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy -p flywheel -p tools -p tests.lab.cluster
	.venv/bin/lint-imports
	$(PYTHON) -m flywheel.api.generate --check crds/

unit: prepare-unit ## tests that need no cluster
	$(PYTEST) tests/unit $(AT_ONCE)

lab: prepare-tests ## tests against a real API server and a real node
	$(PYTEST) tests/lab $(if $(KUBECONFIG),,$(LABS_AT_ONCE))

e2e: prepare-tests ## the whole path with real pods
	$(PYTEST) tests/e2e

bench: prepare-bench ## measure (ONLY=name runs one benchmark)
	$(PYTHON) -m tests.bench $(ONLY)

crds: prepare-helm ## write crds/ from the models, and the chart's copy and deploy/ from them
	$(PYTHON) -m flywheel.api.generate crds/
	$(PYTHON) -m deploy.generate

images: prepare-images ## build the images; an unchanged source builds nothing
	$(CLUSTER) images

install: prepare-images lab-up ## images and chart onto the lab, or onto the cluster of KUBECONFIG (IMAGE_REGISTRY=... to push to)
	$(CLUSTER) install

clean: ## remove what was built in the tree; caches outside it and labs stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find operator tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} +

lab-up: prepare-lab ## a real Kubernetes on this machine
	@$(CLUSTER) up

lab-down: prepare ## remove everything of it
	@$(CLUSTER) down

lab-status: prepare ## what is running
	@$(CLUSTER) status

lab-shell: prepare ## a shell with kubectl, helm and KUBECONFIG (CMD="kubectl get pods" runs one command)
	@$(CLUSTER) shell $(if $(CMD),--run '$(CMD)')

lab-forward: prepare ## a Service on this machine's loopback: TO=svc/name:port [NS=namespace] [PORT=port]
	@$(CLUSTER) forward $(TO) --namespace $(NS) $(if $(PORT),--port $(PORT))

prepare:
	$(BOOTSTRAP) python

prepare-helm:
	$(BOOTSTRAP) python helm

prepare-unit:
	$(BOOTSTRAP) python tests peers helm sample

prepare-lab:
	$(BOOTSTRAP) python $(if $(KUBECONFIG),,lab)

prepare-tests:
	$(BOOTSTRAP) python tests sample $(if $(KUBECONFIG),,lab) images

prepare-bench: prepare-tests
	$(BOOTSTRAP) peers rollouts

prepare-images:
	$(BOOTSTRAP) python $(if $(KUBECONFIG),,lab) images
