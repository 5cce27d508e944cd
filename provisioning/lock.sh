#!/usr/bin/env bash
# Writes the locks from pyproject.toml: every package with the hashes of all its files, no index address.
# One set serves Python 3.11 and 3.13. Needs pip-tools; run it in a clean virtual environment of Python 3.11.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() {
    python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@"
}

printf 'hatchling\neditables\nsetuptools\nwheel\npip\n' >provisioning/build.in
compile --output-file provisioning/build.lock provisioning/build.in
rm provisioning/build.in
compile --output-file provisioning/requirements.lock pyproject.toml
compile --extra test --output-file provisioning/requirements-test.lock pyproject.toml
