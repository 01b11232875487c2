# Everything happens in .venv and runs/; every target is safe to repeat.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: run test test-faults check gate baseline vouch performance weights docs gallery results clean gpu-measure gpu-cifar10 gpu-cifar100 gpu-imagenette gpu-diffusion gpu-rehearsal

# The main job on the embedded default: 4 defenses x 10 attacks on 128 real digits.
run: $(VENV)/.installed
	$(BIN)/bench run --dataset digits --threat Linf:0.2,stadv:0.4 --n 128 --csv bench-results/leaderboard.csv

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal --durations 25

# Kills, full disks, damaged files and hostile code again and again: about half an hour on two cores.
test-faults: $(VENV)/.installed-test
	BENCH_FAULTS=many $(BIN)/python -m pytest -n auto --dist worksteal --timeout 3600 tests/faults tests/harness/executors

# What a pull request must pass besides the tests: style, types, import directions.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .types && mkdir -p .types/bench
	ln -s $(CURDIR)/benchmark/* .types/bench/
	ln -s $(CURDIR)/attacks $(CURDIR)/defenses .types/bench/
	MYPYPATH=.types $(BIN)/mypy
	PYTHONPATH=.types $(BIN)/lint-imports --no-cache

# Robust accuracy on a small matrix, against the verdicts of the last release.
GATED = --dataset digits --n 512 --checks none --precision float32 --threat Linf:0.2,L2:1 --attacks fgsm,pgd-20,pgd-eot-20
gate: $(VENV)/.installed
	$(BIN)/bench run $(GATED) --results runs/gate
	$(BIN)/bench gate --baseline results/baseline --results runs/gate --must-detect 0.05

# Only after a change that is meant to move the numbers; say so in the commit.
baseline: $(VENV)/.installed
	rm -rf results/baseline
	$(BIN)/bench run $(GATED) --results results/baseline

# Golden verdicts again, of all code that changed since somebody vouched for it: about two minutes for everything.
vouch: $(VENV)/.installed-test
	$(BIN)/python tests/vouch.py

# The speed benchmarks beside the peers, under 20 minutes on two cores; CIFAR-10 from DATA or as bench run finds it.
performance: $(VENV)/.installed-performance
	$(BIN)/python performance/run.py $(if $(DATA),--data $(DATA))

# The shipped weights, again, by the recipes they came from; the diffusion model needs a library that tests have.
TRAIN = $(BIN)/bench train --dataset digits --weights runs/weights --out runs/weights
weights: $(VENV)/.installed-test
	for name in standard at at-l2 at-stadv fgsm-rs trades ap ap-autoencoder ap-gan diffpure; do $(TRAIN) $$name || exit 1; done
	for name in atop atop-autoencoder atop-gan atop-diffusion atop-clean atop-paper; do $(TRAIN) $$name || exit 1; done
	for name in atop-autoencoder atop-gan; do $(TRAIN) $$name --set rt=2 || exit 1; done

# The site from docs/, README, the code and results/: open runs/site/index.html.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open runs/site/index.html"

# The pictures of docs/gallery.md, again, about two minutes; or ONLY some, such as those of committed results.
gallery: $(VENV)/.installed
	$(BIN)/python docs/site/gallery.py $(ONLY)

# Every text about results/, again, from its verdicts: their READMEs, tables and pages, and the claims here and in docs/.
results: $(VENV)/.installed
	$(BIN)/python docs/site/results $(ONLY)

# On a borrowed GPU, for so many MINUTES, with nothing installed: docs/gpu.md.
GPU = $(PYTHON) -m gpu $(subst gpu-,,$@) --minutes $(or $(MINUTES),9) $(if $(ARCHIVES),--archives $(ARCHIVES)) $(if $(OUT),--out $(OUT))
gpu-measure gpu-cifar10 gpu-cifar100 gpu-imagenette gpu-diffusion:
	$(GPU)

# The same calls, tiny, on a pretended GPU: under five minutes on two cores.
gpu-rehearsal: $(VENV)/.installed-test
	$(BIN)/python -m gpu rehearsal

clean:
	rm -rf $(VENV) runs build .types *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One rule per extra: the stamp is newer than what it was installed from.
$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[report]'
	touch $@

$(VENV)/.installed-test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

# Both pin what they do not need here; torchattacks puts an older copy of RobustBench over the real one.
$(VENV)/.installed-performance: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --no-deps torchattacks==3.5.1 adv-lib==0.2.8
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall 'robustbench>=1.1.1'
	touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e '.[test,dev]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test
