# The test cluster; see tests/cluster/README.md. The Makefile includes this file.

GPUS ?= 2

.PHONY: cluster-up cluster-down cluster-load cluster-install cluster-status

cluster-up: $(VENV)/dev.stamp ## Make a real Kubernetes cluster; GPUS=4 for four on each worker
	@$(BIN)/python -m tests.cluster up --gpus $(GPUS)

cluster-down: $(VENV)/dev.stamp ## Remove it and all that came with it
	@$(BIN)/python -m tests.cluster down

cluster-load: $(VENV)/dev.stamp ## Give its workers an image: IMAGE=runner, or any that Docker has
	@$(BIN)/python -m tests.cluster load $(or $(IMAGE),$(error say which, as in: make cluster-load IMAGE=runner))

cluster-install: $(VENV)/dev.stamp ## Build both images as the checkout is now, give them to the workers, and install the chart, or upgrade it
	@$(BIN)/python -m tests.cluster install

cluster-status: $(VENV)/dev.stamp ## Print its nodes and how to reach it
	@$(BIN)/python -m tests.cluster status
