#!/bin/sh
# Builds the wheel and the sdist into dist/, the same bytes each time: times are those of the commit.
set -eu
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}
export SOURCE_DATE_EPOCH
umask 022
"$python" -m hatchling build --directory "${1:-dist}" --target wheel --target sdist
