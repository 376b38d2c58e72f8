#!/usr/bin/env bash
# Builds the pinned tools, each once, and links their binaries into one directory.
#
#   tools/build.sh BINDIR [tool...]       when none is named: all but those that only `make bench` or a long test needs
#
# Each tool is a Go module tools/NAME whose `tool` lines name the programs. The binaries land in
# $BOSUN_CACHE/tools/NAME-VERSION-GOVERSION-SUM/, which other checkouts on this machine use too; BINDIR holds links.
# When all are there, this takes a fraction of a second: it asks neither go nor the network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$("$here/cachedir.sh")
bindir=$1
shift

# version NAME prints the version of the module that gives NAME its programs.
version() {
	local first
	first=$(sed -nE 's/^(tool )?\t?([a-z0-9.-]+\.[a-z]+\/[^ ]+)$/\2/p' "$here/$1/go.mod" | head -n 1)
	sed -nE 's/^\t?(require )?([^ ]+) (v[^ ]+).*/\2 \3/p' "$here/$1/go.mod" |
		while read -r module v; do case $first/ in "$module"/*) echo "$v" ;; esac; done | head -n 1
}

# programs NAME prints the import paths of its programs.
programs() { sed -nE 's/^(tool )?\t?([a-z0-9.-]+\.[a-z]+\/[^ ]+)$/\2/p' "$here/$1/go.mod"; }

# store NAME prints where its binaries are kept. What they are built from and how is in the name.
store() {
	local sum cgo tags ldflags rename
	settings "$1"
	sum=$({ cat "$here/$1/go.mod"; echo "$cgo" "$tags" "$ldflags" "$rename"; } | sha256sum | cut -c1-8)
	echo "$cache/tools/$1-$(version "$1")-$goversion-$sum"
}

# settings NAME sets cgo, tags and ldflags: what the tool's own build gives it, static where it can be; and rename,
# as OLD=NEW, when go names its program otherwise than all others do.
settings() {
	cgo=0 tags= ldflags='-s -w' rename=
	case $1 in
	containerd)
		local package=github.com/containerd/containerd/v2
		tags=osusergo,netgo,static_build
		ldflags+=" -X $package/version.Version=$(version containerd)"
		;;
	runc) cgo=1 tags=seccomp ;;
	crio) cgo=1 tags=containers_image_openpgp,exclude_graphdriver_btrfs,seccomp,selinux,apparmor ;;
	cni) ldflags+=" -X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=$(version cni)" ;;
	etcd) rename=server=etcd ;;
	kubernetes | kubelet | kubeadm)
		tags=selinux,notest,grpcnotrace
		local v minor package
		v=$(version "$1") minor=${v#v1.} minor=${minor%%.*}
		for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
			ldflags+=" -X $package.gitVersion=$v -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
		done
		;;
	registry) ldflags+=" -X github.com/distribution/distribution/v3/version.version=$(version registry)" ;;
	esac
}

build() {
	local name=$1 dir tmp cgo tags ldflags rename
	dir=$(store "$name")
	mkdir -p "$cache/tools"
	exec 9>"$cache/tools/.$name.lock"
	flock 9 # another checkout may be building the same
	if [ ! -d "$dir" ]; then
		echo "building $name $(version "$name")" >&2
		settings "$name"
		tmp=$(mktemp -d "$dir.XXXXXX")
		chmod 755 "$tmp"
		# shellcheck disable=SC2046 # one word a program
		if ! (cd "$here/$name" && GOWORK=off CGO_ENABLED=$cgo go build -p 2 -trimpath -buildvcs=false -tags "$tags" -ldflags "$ldflags" -o "$tmp/" $(programs "$name")); then
			rm -rf "$tmp"
			echo "building $name failed" >&2
			return 1
		fi
		# CRI-O makes namespaces with a small program in C of its own.
		[ "$name" != crio ] || gcc -std=c99 -Os -static -s -o "$tmp/pinns" "$(cd "$here/crio" && GOWORK=off go list -m -f '{{.Dir}}' github.com/cri-o/cri-o)"/pinns/src/*.c
		[ -z "$rename" ] || mv "$tmp/${rename%=*}" "$tmp/${rename#*=}"
		mv -T "$tmp" "$dir"
	fi
	exec 9>&-
}

# The file is read a hundred times faster than `go env GOVERSION` answers, but not every distribution has it there.
goversion=$(sed -n 1p "$(dirname "$(readlink -f "$(command -v go)")")/../VERSION" 2>/dev/null || go env GOVERSION)
if [ "${1:-}" = --one ]; then # how this script runs itself, see below
	build "$2"
	exit
fi
# The upstream kubelet is only measured against; metrics-server and CRI-O take minutes to build for long tests.
[ $# -gt 0 ] || set -- $(cd "$here" && for mod in */go.mod; do case ${mod%/*} in crio | kubelet | metrics-server) ;; *) ! grep -q '^tool' "$mod" || dirname "$mod" ;; esac; done)

missing=()
declare -A stores=()
for name; do
	stores[$name]=$(store "$name")
	[ -d "${stores[$name]}" ] || missing+=("$name")
done
# Two at a time: a link uses one core only.
[ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}" | xargs -P 2 -I{} "$0" "$bindir" --one {}

mkdir -p "$bindir"
for name; do
	for binary in "${stores[$name]}"/*; do
		[ "$(readlink "$bindir/${binary##*/}")" = "$binary" ] || ln -sfn "$binary" "$bindir/${binary##*/}"
	done
done
