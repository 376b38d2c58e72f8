#!/usr/bin/env bash
# Installs the Debian packages that building and running need, or those named, when some are missing. Needs root only then.
set -euo pipefail
packages=(gcc libc6-dev libseccomp-dev pkg-config iptables iproute2 ca-certificates dbus-daemon)
[ $# = 0 ] || packages=("$@")

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "missing Debian packages: ${missing[*]}; install them with: sudo apt-get install ${missing[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends "${missing[@]}"; }
# The package lists of a fresh machine are often empty or old: fetch them only when the first try fails.
install || { apt-get update -q && install; }
