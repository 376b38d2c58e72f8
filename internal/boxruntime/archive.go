package boxruntime

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
)

// maxIndex is how large a table of contents in an image archive may be.
const maxIndex = 8 << 20

// contents is what an image archive says it holds.
type contents struct {
	// names of images, complete: "docker.io/library/nginx:latest".
	names []string
	// tags of OCI images that have no name, only a tag: they need a name from elsewhere.
	tags []string
}

// readArchive lists the images of an archive as `docker save` or an OCI layout gives it, plain or gzipped. It reads
// headers and the table of contents; with a seekable r the layers are passed over.
func readArchive(r io.Reader) (contents, error) {
	buffered := bufio.NewReader(r)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return contents{}, fmt.Errorf("unzip: %w", err)
		}
		return readTar(unzipped)
	}
	if s, ok := r.(io.ReadSeeker); ok {
		if _, err := s.Seek(0, io.SeekStart); err != nil {
			return contents{}, err
		}
		return readTar(s)
	}
	return readTar(buffered)
}

func readTar(r io.Reader) (contents, error) {
	var docker, oci []byte
	archive := tar.NewReader(r)
	for docker == nil || oci == nil {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return contents{}, fmt.Errorf("read as a tar archive: %w", err)
		}
		var into *[]byte
		switch strings.TrimPrefix(header.Name, "./") {
		case "manifest.json":
			into = &docker
		case "index.json":
			into = &oci
		default:
			continue
		}
		if *into, err = io.ReadAll(io.LimitReader(archive, maxIndex+1)); err != nil {
			return contents{}, fmt.Errorf("read %s: %w", header.Name, err)
		}
		if len(*into) > maxIndex {
			return contents{}, fmt.Errorf("%s is larger than %d bytes", header.Name, maxIndex)
		}
	}
	switch {
	// An archive of newer Dockers is both; containerd then goes by the OCI layout.
	case oci != nil:
		return readOCI(oci)
	case docker != nil:
		return readDocker(docker)
	}
	return contents{}, errors.New("it holds neither manifest.json nor index.json, so it is no image archive: make one with `docker save NAME -o FILE`")
}

func readDocker(data []byte) (contents, error) {
	var images []struct{ RepoTags []string }
	if err := json.Unmarshal(data, &images); err != nil {
		return contents{}, fmt.Errorf("read manifest.json: %w", err)
	}
	var c contents
	for _, image := range images {
		for _, tag := range image.RepoTags {
			name, err := fullName(tag)
			if err != nil {
				return contents{}, fmt.Errorf("read manifest.json: %w", err)
			}
			c.names = append(c.names, name)
		}
	}
	return c, nil
}

func readOCI(data []byte) (contents, error) {
	var index struct {
		Manifests []struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return contents{}, fmt.Errorf("read index.json: %w", err)
	}
	var c contents
	for _, m := range index.Manifests {
		if name := m.Annotations["io.containerd.image.name"]; name != "" {
			full, err := fullName(name)
			if err != nil {
				return contents{}, fmt.Errorf("read index.json: %w", err)
			}
			c.names = append(c.names, full)
		} else if tag := m.Annotations["org.opencontainers.image.ref.name"]; tag != "" {
			if full, err := fullName(tag); err == nil && strings.ContainsAny(tag, ":/") {
				c.names = append(c.names, full)
			} else {
				c.tags = append(c.tags, tag)
			}
		}
	}
	return c, nil
}

// fullName completes a short name: "nginx" is docker.io/library/nginx:latest.
func fullName(name string) (string, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return "", fmt.Errorf("image name %q: %w", name, err)
	}
	return named.String(), nil
}
