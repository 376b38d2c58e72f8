// Package volume owns the volumes of pods on disk: <root>/pods/<uid>/volumes, .../plugins and .../volume-subpaths, laid
// out as the upstream kubelet does, and the removal of pod directories. It is the only one that mounts there.
//
// Every kind of volume is one file that implements kind; Volumes finds the kind for a volume of a pod, and the kind of a
// directory on disk for one that is to go. What is set up is not remembered anywhere else: the disk and the mount table
// tell. Every call can be repeated, after a crash in the middle of it too.
//
// All paths go through safepath. A volume's own contents are never trusted: containers write them.
package volume
