package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	kubelet "k8s.io/kubelet/config/v1beta1"
)

// Upstream reads what an upstream kubelet has noted of its pulls in its directory image_manager, in the words of Records: so
// an image that was pulled with a login before Bosun took the node over is not taken for one that somebody has put there. A
// secret is known by its identity only, for the hashes are the other's. What cannot be read is left out and told of.
func Upstream(dir string) (map[string][]byte, error) {
	kept := map[string][]byte{}
	pulling := readAll(filepath.Join(dir, "pulling"), func(text []byte) error {
		var intent kubelet.ImagePullIntent
		if err := json.Unmarshal(text, &intent); err != nil {
			return err
		}
		name, err := Normalise(intent.Image)
		if err != nil {
			return err
		}
		kept[pullingKey+name] = []byte{}
		return nil
	})
	pulled := readAll(filepath.Join(dir, "pulled"), func(text []byte) error {
		var theirs kubelet.ImagePulledRecord
		if err := json.Unmarshal(text, &theirs); err != nil {
			return err
		}
		if theirs.ImageRef == "" {
			return errors.New("it names no image")
		}
		ours, err := json.Marshal(recordOf(&theirs))
		if err != nil {
			return err
		}
		kept[pulledKey+theirs.ImageRef] = ours
		return nil
	})
	return kept, errors.Join(pulling, pulled)
}

func recordOf(theirs *kubelet.ImagePulledRecord) record {
	r := record{Updated: theirs.LastUpdatedTime.Time, Grants: map[string]grant{}, Lost: len(theirs.CredentialMapping) == 0}
	for name, by := range theirs.CredentialMapping {
		add := grant{Node: by.NodePodsAccessible}
		for _, s := range by.KubernetesSecrets {
			add.Secrets = append(add.Secrets, proof{owner: owner{UID: s.UID, Namespace: s.Namespace, Name: s.Name}})
		}
		for _, a := range by.KubernetesServiceAccounts {
			add.Accounts = append(add.Accounts, owner{UID: a.UID, Namespace: a.Namespace, Name: a.Name})
		}
		repository := repositoryOf(name)
		r.Grants[repository], _ = r.Grants[repository].with(add)
	}
	return r
}

// mostNoted bounds a file, in bytes.
const mostNoted = 1 << 20

// readAll reads the files of a directory; none if it is not there.
func readAll(dir string, each func([]byte) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var wrong []error
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := readNote(path)
		if err == nil {
			err = each(text)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", path, err))
		}
	}
	return errors.Join(wrong...)
}

func readNote(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, mostNoted))
}
