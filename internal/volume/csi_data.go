package volume

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/safepath"
)

// The names of what CSI volumes have on disk, as upstream's kubelet has them: drivers and tools read some of it.
const (
	csiDir       = "kubernetes.io~csi"
	csiPlugin    = "kubernetes.io/csi"
	csiMount     = "mount"
	csiStaging   = "globalmount"
	dataFile     = "vol_data.json"
	dataFileMax  = 64 << 10
	persistently = "Persistent"
	ephemerally  = "Ephemeral"
)

// csiData says which volume a directory is of. It is written before a driver is called, and what is taken down later is found
// by it.
type csiData struct {
	AttachmentID string `json:"attachmentID,omitempty"`
	DriverName   string `json:"driverName"`
	NodeName     string `json:"nodeName,omitempty"`
	SpecVolID    string `json:"specVolID,omitempty"`
	VolumeHandle string `json:"volumeHandle"`
	Lifecycle    string `json:"volumeLifecycleMode,omitempty"`
}

// key is what a volume is known by on the node, whatever pods use it.
func (d csiData) key() string { return d.DriverName + "^" + d.VolumeHandle }

// unique is what the controller that attaches volumes calls it.
func (d csiData) unique() v1.UniqueVolumeName { return v1.UniqueVolumeName(csiPlugin + "/" + d.key()) }

// attachment is the name of the object by which a volume is attached to a node.
func attachment(handle, driver, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+driver+node)))
}

// inlineHandle is what a driver is to call a volume that lives and dies with its pod.
func inlineHandle(pod, volume string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(pod+volume)))
}

// readData reads vol_data.json of a directory; ok is false if there is none, or none that tells anything.
func readData(root *safepath.Root, dir string) (d csiData, ok bool, err error) {
	text, err := root.ReadFile(filepath.Join(dir, dataFile), dataFileMax)
	if errors.Is(err, fs.ErrNotExist) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	if json.Unmarshal(text, &d) != nil || d.DriverName == "" || d.VolumeHandle == "" { // the machine went down while it was written
		return csiData{}, false, nil
	}
	return d, true, nil
}

// writeData writes vol_data.json unless it says so already.
func writeData(root *safepath.Root, dir string, d csiData) error {
	if have, ok, err := readData(root, dir); err != nil || ok && have == d {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return root.Replace(filepath.Join(dir, dataFile), text, 0o644)
}
