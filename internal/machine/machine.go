package machine

import (
	"fmt"

	"github.com/google/cadvisor/lib/fs"
	"github.com/google/cadvisor/lib/machine"
	info "github.com/google/cadvisor/lib/model"
	"github.com/google/cadvisor/lib/utils/sysfs"
)

// Info describes a machine. Sizes are in bytes, the frequency is in kHz.
type Info = info.MachineInfo

// Read describes this machine as it is now. It takes some milliseconds and is not meant to be called often.
func Read() (*Info, error) {
	disks, err := fs.NewFsInfo(fs.Context{})
	if err != nil {
		return nil, fmt.Errorf("read this machine's filesystems: %w", err)
	}
	m, err := machine.Info(sysfs.NewRealSysFs(), disks, true)
	if err != nil {
		return nil, fmt.Errorf("read what this machine is: %w", err)
	}
	return m, nil
}
