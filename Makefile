# make run   sets up and runs the main job        make test  sets up and passes the tests
# On Linux without a GPU, torch comes from PyTorch's CPU index first and not with several GB of CUDA; CUDA=1 leaves that to pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CUDA ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi 2>/dev/null),1,),1)
CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: run test lint size clean

$(BIN)/.ready: pyproject.toml constraints/cpu.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(CUDA),,$(BIN)/python -m pip install -q --no-deps --retries 0 --timeout 15 --index-url $(CPU_INDEX) -c constraints/cpu.txt torch || echo "PyTorch's CPU index is out of reach: pip chooses the build")
	$(BIN)/python -m pip install -q -c constraints/cpu.txt -e '.[test]'
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
