#!/bin/sh
# Writes CycloneDX lists into dist/: what the broker needs from PyPI, and what its pages have in them from npm.
set -eu
cd "$(dirname "$0")/../.."
bin=$(cd "$(dirname "${PYTHON:-.venv/bin/python}")" && pwd)
version=$("$bin/python" -m hatchling version)
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

"$bin/python" -m venv --without-pip "$room/environment"
"$bin/pip" --quiet --python "$room/environment/bin/python" install --require-hashes --requirement scripts/packages/requirements.txt
"$bin/pip" --quiet --python "$room/environment/bin/python" install --no-deps dist/outlast-*-py3-none-any.whl
"$bin/cyclonedx-py" environment "$room/environment/bin/python" --pyproject pyproject.toml --mc-type application \
    --output-reproducible --of JSON --output-file "dist/outlast-$version.cdx.json"
(cd clients/web && npm sbom --omit dev --package-lock-only --sbom-format cyclonedx) >"dist/outlast-$version-pages.cdx.json"
ls dist/*.cdx.json
