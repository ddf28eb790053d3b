#!/bin/sh
# Installs what the tests of systemd's units need: systemd-analyze, where there is none and we may.
set -eu
command -v systemd-analyze >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd >/dev/null
fi
if ! command -v systemd-analyze >/dev/null; then
    echo "The tests of systemd's units need systemd-analyze: sudo apt-get install systemd, then try again." >&2
    exit 1
fi
