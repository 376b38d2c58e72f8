package pressure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	v1 "k8s.io/api/core/v1"
)

// recordName is the name of the file below the state directory.
const recordName = "node_pressure_state"

// recordVersion is that of its form.
const recordVersion = 1

// record is the file that says what the node was short of: a restart of the agent must not make it say that it has enough.
type record struct {
	path string
	// boot is the life of the machine; what was short in another one is not known to be now.
	boot string
}

type recorded struct {
	Version  int                    `json:"version"`
	Boot     string                 `json:"boot"`
	Pressure []v1.NodeConditionType `json:"pressure"`
}

// load returns what the node was short of when the agent was last there.
func (r record) load() ([]v1.NodeConditionType, error) {
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var was recorded
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err == nil && was.Version != recordVersion {
		err = fmt.Errorf("version %d is not known, want %d", was.Version, recordVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("read what the node was short of from %s: %w", r.path, err)
	}
	if was.Boot != r.boot {
		return nil, nil
	}
	return was.Pressure, nil
}

// save replaces the file in one step; nothing to remember is no file.
func (r record) save(pressure []v1.NodeConditionType) error {
	if len(pressure) == 0 {
		if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remember that the node is short of nothing: %w", err)
		}
		return nil
	}
	text, err := json.Marshal(recorded{recordVersion, r.boot, pressure})
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("remember what the node is short of: %w", errors.Join(err, os.Remove(r.path+".new")))
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return fmt.Errorf("remember what the node is short of: %w", err)
	}
	return nil
}
