#!/bin/sh
# Installs the Debian package in dist/ here, runs its broker as its unit says, stops and purges it. For machines that are thrown away.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "only root can install a package: run it on a machine that is thrown away" >&2; exit 1; }
! dpkg --status outlast >/dev/null 2>&1 || { echo "outlast is installed here already: this would purge it" >&2; exit 1; }

room=$(mktemp -d)
socket=$room/socket
broker=
clean() {
    [ -z "$broker" ] || kill -KILL "$broker" 2>/dev/null || true
    dpkg --purge outlast >/dev/null 2>&1 || true
    rm -rf "$room"
}
trap clean EXIT

apt-get install -y -qq --no-install-recommends "$PWD"/dist/outlast_*.deb >"$room/install" 2>&1 || { cat "$room/install" >&2; exit 1; }
/usr/bin/outlast --version
/usr/bin/outlast config check --config /etc/outlast/outlast.toml
grep -q '^ExecStart=/usr/lib/outlast/bin/outlast serve' /lib/systemd/system/outlast.service

# Nobody who could look at a path of the person who builds packages is on the machine of those who install them.
! grep -rIl --exclude-dir=__pycache__ "$PWD" /usr/lib/outlast || { echo "the package names the folder it was built in" >&2; exit 1; }

/usr/bin/outlast serve --config /etc/outlast/outlast.toml --listen "unix:$socket" --data "$room/data" 2>"$room/log" &
broker=$!
export OUTLAST_URL="outlast+unix://$socket"
/usr/bin/outlast pub packaged hello --connect-timeout 20s >/dev/null
[ "$(/usr/bin/outlast sub packaged --from earliest -n 1)" = hello ]
kill -TERM "$broker"
wait "$broker" || { cat "$room/log" >&2; exit 1; }
broker=

dpkg --purge outlast >"$room/purge" 2>&1 || { cat "$room/purge" >&2; exit 1; }
left=$(ls -d /usr/lib/outlast /usr/bin/outlast /etc/outlast /lib/systemd/system/outlast* 2>/dev/null || true)
[ -z "$left" ] || { echo "a purge leaves behind: $left" >&2; exit 1; }
echo "the Debian package installs, serves, stops and goes"
