// Package boxruntime owns Bosun's own container runtime: the containerd that `bosun up` starts when nobody named a CRI
// endpoint and none of the usual sockets answers.
//
// Usual and Answers find a runtime that is already there. Start brings up our own and returns a Box; the containerd
// process is in a session of its own and goes on when Bosun ends, however Bosun ends. The next Start finds it through its
// pid record and keeps it, or, when its configuration or its binary changed, replaces it; pods survive both, since every
// pod hangs on its shim and not on containerd. Box.Supervise restarts a containerd that died. Box.Stop takes everything
// down again, and Purge removes the state as well.
//
// What lies where:
//
//	ROOT/config.toml          containerd's configuration, rewritten by Start; ROOT/config.d/*.toml are the user's additions
//	ROOT/containerd/          images, snapshots, containers
//	ROOT/certs.d/             registry hosts, one directory each (see containerd's hosts.md)
//	ROOT/cni/net.d, cni/ipam  the pod network and the addresses given out
//	ROOT/containerd.log       what containerd said; .1 is the log before
//	ROOT/box.json             choices that must not change by themselves: subnet, bridge, snapshotter
//	ROOT/images.json          image archives that were loaded
//	RUN/containerd.sock       the CRI endpoint
//	RUN/containerd.json       the pid record; RUN/lock is held while one Bosun starts or stops containerd
//	RUN/state, RUN/s          mounts, network namespaces, shim sockets; all of RUN is gone after a reboot
//
// When Bosun runs as a systemd service, the unit needs KillMode=process, or Config.Cgroup must name a cgroup of its own:
// otherwise systemd ends containerd and its shims together with Bosun.
package boxruntime
