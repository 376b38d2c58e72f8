#!/usr/bin/env bash
# Prints the directory of a Linux kernel for the virtual machine of tests/vm, with vmlinuz and the modules it loads. Installs QEMU
# when it is missing (that needs root), and fetches Debian's newest cloud kernel once: it is kept in
# $BOSUN_CACHE/kernel/VERSION/, and the newest one there that has all modules is taken. Remove it to fetch anew.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
store=$("$here/cachedir.sh")/kernel
# Those of init_test.go in tests/vm/guest; the rest it needs is built in.
modules=(virtio_blk overlay llc stp bridge veth failover net_failover virtio_net)

[ "$(uname -m)" = x86_64 ] || { echo "the virtual machine is made for x86_64 only, and this is $(uname -m)" >&2; exit 1; }
"$here/deps.sh" qemu-system-x86 e2fsprogs xz-utils >&2

mkdir -p "$store"
exec 9>"$store/.lock"
flock 9 # another checkout may be fetching the same
complete() {
	local module
	for module in "${modules[@]}"; do
		[ -e "$1/$module.ko" ] || return 1
	done
}
newest() {
	local dirs dir
	mapfile -t dirs < <(find "$store" -mindepth 1 -maxdepth 1 -type d ! -name '.*' | sort -rV)
	for dir in "${dirs[@]}"; do
		if complete "$dir"; then
			echo "$dir"
			return
		fi
	done
}
found=$(newest)
if [ -n "$found" ]; then
	echo "$found"
	exit
fi

# Debian stable, whatever release this machine has, with package lists of our own: apt's are left alone.
tmp=$(mktemp -d "$store/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" "$tmp/kernel"
key=/usr/share/keyrings/debian-archive-keyring.gpg
printf "deb [arch=amd64 signed-by=$key] http://deb.debian.org/%s main\n" 'debian stable' 'debian-security stable-security' >"$tmp/sources.list"
options=(-q -o "Dir::Etc::sourcelist=$tmp/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$tmp/lists"
	-o "Dir::Cache=$tmp/cache" -o APT::Architecture=amd64 -o APT::Sandbox::User=root)
echo 'fetching a kernel for the virtual machine' >&2
apt-get "${options[@]}" update >&2
package=$(apt-cache "${options[@]}" depends linux-image-cloud-amd64 | sed -nE 's/^ +Depends: (linux-image-[^ ]+)$/\1/p' | head -n 1)
[ -n "$package" ] || { echo 'Debian names no package for linux-image-cloud-amd64' >&2; exit 1; }
(cd "$tmp" && apt-get "${options[@]}" download "$package" >&2)
dpkg-deb -x "$tmp"/linux-image-*.deb "$tmp/unpacked"
cp "$tmp"/unpacked/boot/vmlinuz-* "$tmp/kernel/vmlinuz"
for module in "${modules[@]}"; do
	path=$(find "$tmp/unpacked" -name "$module.ko*" | head -n 1)
	case $path in
	*.ko) cp "$path" "$tmp/kernel/" ;;
	*.ko.xz) xz -dc "$path" >"$tmp/kernel/$module.ko" ;;
	*) echo "$package has no module $module" >&2; exit 1 ;;
	esac
done
target=$store/${package#linux-image-}
rm -rf "$target" # it lacks a module that was not wanted when it was fetched
mv -T "$tmp/kernel" "$target"
newest
