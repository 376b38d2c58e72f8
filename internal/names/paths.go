package names

import (
	"path/filepath"
	"strconv"

	"k8s.io/apimachinery/pkg/types"
)

// Default directories, as the upstream kubelet uses them.
const (
	DefaultRootDir       = "/var/lib/kubelet"
	DefaultPodLogsDir    = "/var/log/pods"
	ContainerLogLinksDir = "/var/log/containers"
)

// PodDir is the directory of one pod below the state root.
func PodDir(root string, uid types.UID) string {
	return filepath.Join(root, "pods", string(uid))
}

// PodLogDir is the directory of one pod's logs: <podLogsDir>/<namespace>_<name>_<uid> (behaviour 50).
func PodLogDir(podLogsDir, namespace, name string, uid types.UID) string {
	return filepath.Join(podLogsDir, namespace+"_"+name+"_"+string(uid))
}

// ContainerLog is the path of one container attempt's log relative to the pod's log directory (behaviour 62).
func ContainerLog(container string, attempt uint32) string {
	return filepath.Join(container, strconv.FormatUint(uint64(attempt), 10)+".log")
}

// ContainerLogLink is the file name of the link below /var/log/containers that log collectors read.
func ContainerLogLink(namespace, pod, container, id string) string {
	return pod + "_" + namespace + "_" + container + "-" + id + ".log"
}
