#!/bin/bash
# Runs the daemon on examples/manifests, in the foreground, with everything it
# needs in places of its own, and leaves nothing behind. "make run" calls it.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
name=sandboxer-examples
work=/run/$name      # state and data; short, for the sake of the sockets in it
roots=/var/lib/$name # what the manifests name: the root file system, volumes
bin=${SANDBOXER_BIN:-$top/bin/sandboxer}
workload=${SANDBOXER_WORKLOAD:-$top/bin/workload}
daemon=
table=

fail() {
	echo "make run: $*" >&2
	exit 1
}

# cgroups lists the directories of the examples' cgroups, deepest first, on
# hosts of both generations.
cgroups() {
	local dir
	for dir in /sys/fs/cgroup/$name /sys/fs/cgroup/*/$name; do
		[ ! -d "$dir" ] || find "$dir" -depth -type d
	done
}

# sweep removes whatever a run has made, also one that was killed.
sweep() {
	local dir pid mount tries
	# What is in the cgroups is ours; a process may start others meanwhile.
	for tries in $(seq 300); do
		[ -n "$(cgroups)" ] || break
		for dir in $(cgroups); do
			while read -r pid; do
				kill -KILL "$pid" 2>/dev/null || true
			done <"$dir/cgroup.procs" 2>/dev/null || true
			rmdir "$dir" 2>/dev/null || true
		done
		[ -z "$(cgroups)" ] || sleep 0.1
	done
	awk -v dir="$work/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | tac | while read -r mount; do
		umount -l "$mount"
	done
	rm -rf --one-file-system "$work" "$roots"
}

finish() {
	trap '' INT TERM HUP EXIT
	[ -z "$table" ] || kill "$table" 2>/dev/null || true
	if [ -n "$daemon" ]; then
		echo "Stopping every sandbox ..."
		kill -TERM "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	sweep
	rm -f "$work.lock"
	echo "Nothing is left."
}

[ "$(id -u)" = 0 ] || fail "the daemon makes namespaces, cgroups and mounts; run it as root: sudo make run"
[ -x "$bin" ] && [ -x "$workload" ] || fail "build first: make build"
exec 9>"$work.lock"
flock -n 9 || fail "the examples run already, in another terminal"
trap finish EXIT
trap 'exit 0' INT TERM HUP
sweep

mkdir -p "$work" "$roots/rootfs/bin"
chmod 0700 "$work"
cp "$workload" "$roots/rootfs/bin/workload"
# This checkout may belong to whoever cloned it. On a host of your own the
# manifests are root's alone, and the daemon insists on that.
echo "allowUnsafeManifests: true" >"$work/config.yaml"

export SANDBOXER_SOCKET=$work/sock
"$bin" daemon --socket "$SANDBOXER_SOCKET" --manifests "$top/examples/manifests" --state-dir "$work/state" --data-dir "$work/data" \
	--config "$work/config.yaml" --cgroup-parent "/$name" --log-level warn --stop-sandboxes-on-exit 9>&- &
daemon=$!
# It plans once it has read the manifests; the table then has room for all.
until "$bin" plan >/dev/null 2>&1; do
	kill -0 "$daemon" 2>/dev/null || { daemon=; fail "the daemon ended"; }
	sleep 0.05
done
cat <<END
The daemon keeps the sandboxes of examples/manifests. Edit, add or remove a
file there and watch. In another terminal:

    export SANDBOXER_SOCKET=$SANDBOXER_SOCKET
    $bin get
    $bin logs hello

Ctrl-C ends it and leaves nothing behind.

END
"$bin" get --watch 9>&- &
table=$!
wait "$daemon" || true
daemon=
fail "the daemon ended"
