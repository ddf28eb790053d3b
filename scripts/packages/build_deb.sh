#!/bin/sh
# Builds dist/outlast_VERSION_ARCH.deb from the wheel in dist/ and the pinned requirements.
# It needs debhelper, dpkg-dev and python3-venv, which root gets by itself.
set -eu
cd "$(dirname "$0")/../.."
here=scripts/packages

if ! command -v dh >/dev/null || ! command -v dpkg-buildpackage >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends debhelper dpkg-dev python3-venv >/dev/null
    else
        echo "A Debian package needs these to be built: sudo apt-get install debhelper dpkg-dev python3-venv" >&2
        exit 1
    fi
fi

set -- dist/outlast-*-py3-none-any.whl
[ -f "$1" ] || { echo "build the wheel first: make packages" >&2; exit 1; }
version=$(basename "$1" | cut -d- -f2)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)}
export SOURCE_DATE_EPOCH

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
source=$room/outlast-$version
mkdir "$source"
cp "$1" LICENSE "$here/requirements.txt" "$source/"
cp -r "$here/debian" systemd "$source/"
cat >"$source/debian/changelog" <<TEXT
outlast ($version) unstable; urgency=medium

  * What is new is in CHANGELOG.md.

 -- Outlast <packages@outlast.invalid>  $(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")
TEXT

(cd "$source" && PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg-buildpackage --build=binary --no-sign >"$room/log" 2>&1) || {
    tail -n 40 "$room/log" >&2
    exit 1
}
cp "$room"/outlast_*.deb dist/
ls dist/outlast_*.deb
