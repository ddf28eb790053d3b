#!/bin/sh
# Installs what the browser tests need: playwright-core, and Chromium where there is none and we may.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup_js.sh tests/browser

if ! node tests/browser/chromium.js >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing Chromium for the browser tests (once; about a minute) ..." >&2
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
    fi
    if ! node tests/browser/chromium.js >/dev/null; then
        echo "The browser tests need Chromium: sudo apt-get install chromium, or say where it is: OUTLAST_CHROMIUM=PATH" >&2
        exit 1
    fi
fi
