package shutdown

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// recordName is the name of the file below the state directory (behaviour 309).
const recordName = "graceful_node_shutdown_state"

// Record is what is remembered of the last shutdown, also over the end of the machine's life.
type Record struct {
	// Start is when the pods were begun to be ended, End when the machine was let go, or the shutdown was called off. Zero means
	// never, and not yet.
	Start time.Time `json:"startTime,omitzero"`
	End   time.Time `json:"endTime,omitzero"`
}

// record is the file that holds a Record.
type record string

func (r record) load() (Record, error) {
	var out Record
	text, err := os.ReadFile(string(r))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read what is remembered of the last shutdown from %s: %w", string(r), err)
	}
	return out, nil
}

// save replaces the file in one step.
func (r record) save(what Record) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(string(r)+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), string(r))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("remember the shutdown in %s: %w", string(r), err), os.Remove(f.Name()))
	}
	return nil
}
