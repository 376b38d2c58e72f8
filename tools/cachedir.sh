#!/usr/bin/env bash
# Prints the directory where built tools and images are kept for all checkouts of this machine:
# $BOSUN_CACHE, else ~/.cache/bosun when it can be written, else .cache in this checkout.
set -euo pipefail
dir=${BOSUN_CACHE:-${HOME:+$HOME/.cache/bosun}}
if [ -z "$dir" ] || ! mkdir -p "$dir" 2>/dev/null || ! [ -w "$dir" ]; then
	dir=$(cd "$(dirname "$0")/.." && pwd)/.cache
	mkdir -p "$dir"
fi
cd "$dir" && pwd
