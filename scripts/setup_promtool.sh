#!/bin/sh
# Puts Prometheus's promtool into FOLDER, for the test of the alerts: that of the machine, else out of Debian's package,
# of which nothing else is installed, and no daemon started.
set -eu
folder=$1
promtool=$folder/promtool

if command -v promtool >/dev/null; then
    ln -sf "$(command -v promtool)" "$promtool"
    exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "The alerts are tested by promtool, and there is none: install Prometheus (prometheus.io/download), then try again." >&2
    exit 1
fi
echo "Fetching promtool for the test of the alerts (once; a few seconds) ..." >&2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq prometheus >/dev/null 2>&1 || { apt-get update -qq && apt-get download -qq prometheus >/dev/null 2>&1; } || {
    echo "Debian's package of Prometheus cannot be fetched: sudo apt-get install prometheus, then try again." >&2
    exit 1
}
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
cd "$OLDPWD"
install -m 755 "$work/usr/bin/promtool" "$promtool"
