# make run   sets up and runs the main job        make test  sets up and passes the tests
# On Linux without a GPU, add CPU=1: torch then comes from PyTorch's CPU index, not with several GB of CUDA.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CPU_INDEX := $(if $(CPU),--extra-index-url https://download.pytorch.org/whl/cpu,)

.PHONY: run test lint size clean

$(BIN)/.ready: pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(CPU_INDEX) -c constraints/cpu.txt -e '.[test]'
	touch $@

run: $(BIN)/.ready
	env -u OMP_NUM_THREADS $(BIN)/limbeck make cf

test: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

size:
	@git ls-files '*.py' | grep -v '^tests/' | xargs wc -l | sort -rn | head -15

clean:
	rm -rf $(VENV) runs
