#!/bin/sh
# Pins what the broker needs, with hashes, in requirements.txt beside this file.
set -eu
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m piptools compile --quiet --upgrade --generate-hashes --extra broker --strip-extras \
    --no-header --no-annotate --no-emit-options --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
    --output-file scripts/packages/requirements.txt pyproject.toml
