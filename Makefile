# Two environments, so that the demo proves the device needs no torch:
#   .venv       the device's own parts           make demo
#   .venv-test  every part, and the tools        make test, make check
PYTHON ?= python3
TORCH ?= torch==2.13.0
# Later ones are 170 MB; this is the line that LeRobot takes, too.
RERUN ?= rerun-sdk<0.27
DEMO_ARGS ?=
PYTEST_ARGS ?=

RUN := .venv/bin
DEV := .venv-test/bin
PROJECTS := pyproject.toml robots/pyproject.toml

.PHONY: demo test check clean

demo: .venv/installed
	$(RUN)/otter-edge demo $(DEMO_ARGS)

test: .venv-test/installed
	$(DEV)/pytest $(PYTEST_ARGS)

check: .venv-test/installed
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy

.venv/installed: $(PROJECTS)
	$(PYTHON) -m venv .venv
	$(RUN)/pip install --quiet -e ./robots -e '.[cpu]'
	@touch $@

# torch first and by itself, so that whatever build the machine's pip offers (CPU-only, say) is the
# one the extras below find installed.
.venv-test/installed: $(PROJECTS) Makefile
	$(PYTHON) -m venv .venv-test
	$(DEV)/pip install --quiet '$(TORCH)'
	$(DEV)/pip install --quiet -e './robots[gymnasium,mavlink,ros2]' -e '.[cpu,metrics,export,tuning,compare,rosbag2,lerobot,test]'
	$(DEV)/pip install --quiet '$(RERUN)'
# Compiled, and only where PortAudio is; its tests say that they were skipped.
	timeout 180 $(DEV)/pip install --quiet -e '.[voice]' || echo "skipped: no voice (apt-get install portaudio19-dev)"
	@touch $@

clean:
	rm -rf .venv .venv-test .pytest_cache .mypy_cache .ruff_cache .hypothesis
