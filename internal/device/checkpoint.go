package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bosun-project/bosun/internal/allocate"
)

// checkpointFile is where the upstream kubelet remembers devices, in the directory of the plugins.
const checkpointFile = "kubelet_internal_checkpoint"

// mostCheckpoint bounds what is read of it.
const mostCheckpoint = 64 << 20

// Checkpoint is what the upstream kubelet has remembered.
type Checkpoint struct {
	// At is when it was written.
	At time.Time
	// Resources are those that plugins have served.
	Resources []string
	// Assigned is what pods had, Handed what plugins had handed out for that.
	Assigned map[types.UID]*allocate.Assigned
	Handed   map[types.UID]map[string]allocate.Artifacts
	// Damaged are entries that make no sense, in words.
	Damaged []string
}

// checkpoint is the file as it is written since Kubernetes 1.20, and before. Its checksum is of a form that is written down nowhere;
// each entry is checked by itself.
type checkpoint struct {
	Data struct {
		PodDeviceEntries []struct {
			PodUID, ContainerName, ResourceName string
			// DeviceIDs are lists by NUMA node; a single list before 1.20.
			DeviceIDs json.RawMessage
			// AllocResp is the answer of the plugin as it came.
			AllocResp []byte
		}
		RegisteredDevices map[string][]string
	}
}

// ReadCheckpoint reads what an upstream kubelet has left in a directory; nil if there is nothing.
func ReadCheckpoint(dir string) (*Checkpoint, error) {
	file, err := os.Open(filepath.Join(dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what a kubelet has left of devices: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read what a kubelet has left of devices: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, mostCheckpoint))
	if err != nil {
		return nil, fmt.Errorf("read what a kubelet has left of devices: %w", err)
	}
	c, err := parseCheckpoint(text)
	if err != nil {
		return nil, fmt.Errorf("read what a kubelet has left of devices, %s: %w", file.Name(), err)
	}
	c.At = info.ModTime()
	return c, nil
}

// parseCheckpoint reads the text of the file.
func parseCheckpoint(text []byte) (*Checkpoint, error) {
	var in checkpoint
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, err
	}
	out := &Checkpoint{
		Resources: slices.Sorted(maps.Keys(in.Data.RegisteredDevices)),
		Assigned:  map[types.UID]*allocate.Assigned{}, Handed: map[types.UID]map[string]allocate.Artifacts{},
	}
	for i, e := range in.Data.PodDeviceEntries {
		ids, err := idsOf(e.DeviceIDs)
		if err == nil && (e.PodUID == "" || e.ContainerName == "" || e.ResourceName == "" || len(ids) == 0) {
			err = errors.New("it names no pod, container, resource or device")
		}
		if err != nil {
			out.Damaged = append(out.Damaged, fmt.Sprintf("entry %d: %v", i, err))
			continue
		}
		uid := types.UID(e.PodUID)
		if out.Assigned[uid] == nil {
			out.Assigned[uid], out.Handed[uid] = &allocate.Assigned{Containers: map[string]allocate.Part{}}, map[string]allocate.Artifacts{}
		}
		part := out.Assigned[uid].Containers[e.ContainerName]
		if part.Devices == nil {
			part.Devices = map[string][]string{}
		}
		part.Devices[e.ResourceName] = ids
		out.Assigned[uid].Containers[e.ContainerName] = part
		var answer pb.ContainerAllocateResponse
		if err = proto.Unmarshal(e.AllocResp, &answer); err == nil {
			var a allocate.Artifacts
			if a, err = artifactsOf(&answer); err == nil {
				out.Handed[uid][e.ContainerName] = out.Handed[uid][e.ContainerName].Add(a)
			}
		}
		if err != nil { // the plugin has to be asked again before a container of the pod is made
			out.Handed[uid] = nil
			out.Damaged = append(out.Damaged, fmt.Sprintf("entry %d, of pod %s: the answer of the plugin: %v", i, uid, err))
		}
	}
	return out, nil
}

// idsOf reads the IDs of devices, in whichever form.
func idsOf(text json.RawMessage) ([]string, error) {
	var list []string
	if json.Unmarshal(text, &list) == nil {
		slices.Sort(list)
		return slices.Compact(list), nil
	}
	var nodes map[string][]string
	if err := json.Unmarshal(text, &nodes); err != nil {
		return nil, err
	}
	for node, ids := range nodes {
		if _, err := strconv.Atoi(node); err != nil {
			return nil, fmt.Errorf("%q is the number of no NUMA node", node)
		}
		list = append(list, ids...)
	}
	slices.Sort(list)
	return slices.Compact(list), nil // one near to two nodes is named with each
}
