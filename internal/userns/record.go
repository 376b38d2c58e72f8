package userns

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/safepath"
)

// recordName is the name of the record in a pod's directory.
const recordName = "userns"

// maxRecord is the largest record that is read, in bytes; a real one has some hundred.
const maxRecord = 4096

// record is what a pod's file holds, in the shape the upstream kubelet writes, so that a node can change hands while
// pods run. It can hold more than a pod here ever has: one mapping each for users and groups, the same.
type record struct {
	Users  []mapping `json:"uidMappings"`
	Groups []mapping `json:"gidMappings"`
}

type mapping struct {
	Host      uint32 `json:"hostId"`
	Container uint32 `json:"containerId"`
	Length    uint32 `json:"length"`
}

func encode(s Span) ([]byte, error) {
	m := []mapping{{Host: uint32(s.First), Length: uint32(s.Count)}}
	data, err := json.Marshal(record{Users: m, Groups: m})
	return append(data, '\n'), err
}

func decode(data []byte) (Span, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Span{}, errors.New("the file is empty")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	var r record
	if err := d.Decode(&r); err != nil {
		return Span{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Span{}, errors.New("there is something after the JSON object")
	}
	if len(r.Users) != 1 || len(r.Groups) != 1 {
		return Span{}, fmt.Errorf("want one mapping each in uidMappings and gidMappings, not %d and %d", len(r.Users), len(r.Groups))
	}
	m := r.Users[0]
	if m != r.Groups[0] {
		return Span{}, errors.New("uidMappings and gidMappings are not the same")
	}
	if m.Container != 0 {
		return Span{}, fmt.Errorf("containerId is %d, not 0", m.Container)
	}
	s := Span{First: uint64(m.Host), Count: uint64(m.Length)}
	return s, usable(s)
}

// write puts the record of a pod in place at once and on the disk. After a power failure a half-written record would
// keep the pod from starting again, so this one file waits for the disk.
func write(root *safepath.Root, uid types.UID, s Span) error {
	data, err := encode(s)
	if err != nil {
		return err
	}
	pod, err := root.MakeSub(filepath.Join("pods", string(uid)), 0o750)
	if err != nil {
		return err
	}
	defer pod.Close()
	const temp = ".bosun-new-" + recordName
	if err := pod.Remove(temp); err != nil { // of an earlier life
		return err
	}
	f, err := pod.Create(temp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = pod.Rename(temp, recordName)
	}
	if err != nil {
		return errors.Join(err, pod.Remove(temp))
	}
	return nil
}

// read reads the record of a pod; found is false if there is none.
func read(root *safepath.Root, uid types.UID) (s Span, found bool, err error) {
	data, err := root.ReadFile(filepath.Join("pods", string(uid), recordName), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return Span{}, false, nil
	}
	if err == nil {
		s, err = decode(data)
	}
	return s, true, err
}
