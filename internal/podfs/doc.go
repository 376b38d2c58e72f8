// Package podfs owns the directories and files of pods besides their volumes: the pod's own directory, its hosts file,
// the backing files of termination messages, the log directories, and the links in /var/log/containers (behaviours 50,
// 61, 62, 74, 82, 83, 261, 265). The layout is that of the upstream kubelet.
//
// Logs are written by the runtime; this package makes their directories, reads their ends and removes them.
package podfs
