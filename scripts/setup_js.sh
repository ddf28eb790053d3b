#!/bin/sh
# Installs what package-lock.json of FOLDER names (clients/js by default), when it says others than are there.
set -eu
folder=${1:-clients/js}
cd "$(dirname "$0")/../$folder"
needs="$folder needs Node 20 or newer with npm to be built and tested"

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "$needs, and there is none: install it (Debian: apt-get install nodejs npm; else nodejs.org), then try again." >&2
    exit 1
fi
if ! node --eval 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    echo "$needs; this is $(node --version)." >&2
    exit 1
fi

if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
    echo "Setting up $folder (once; a few seconds) ..." >&2
    npm ci --silent
    cp package-lock.json node_modules/.installed-lock.json
fi
