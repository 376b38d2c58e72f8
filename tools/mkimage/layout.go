package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"runtime"
	"strings"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// A layout collects the blobs of an OCI image layout in the order they are made.
type layout struct {
	tar *tar.Writer
	err error
}

// writeLayout writes an OCI image layout with one image of one uncompressed layer: import is then a plain copy.
func writeLayout(w io.Writer, r *recipe, root *tree) error {
	var files bytes.Buffer
	if err := root.writeTar(&files); err != nil {
		return err
	}
	l := &layout{tar: tar.NewWriter(w)}
	l.put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	layer := l.blob("application/vnd.oci.image.layer.v1.tar", files.Bytes())
	config := l.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"created": epoch, "architecture": runtime.GOARCH, "os": "linux", "config": r.Config,
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
		"history": []any{map[string]any{"created": epoch, "created_by": "bosun mkimage"}},
	})
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := l.json(manifestType, map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": []descriptor{layer},
	})
	manifest.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	_, tag, _ := strings.Cut(r.Name[strings.LastIndex(r.Name, "/")+1:], ":")
	manifest.Annotations = map[string]string{"io.containerd.image.name": r.Name, "org.opencontainers.image.ref.name": tag}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []descriptor{manifest},
	})
	if err != nil {
		return err
	}
	l.put("index.json", index)
	if l.err != nil {
		return l.err
	}
	return l.tar.Close()
}

func (l *layout) json(mediaType string, v any) descriptor {
	data, err := json.Marshal(v)
	if err != nil && l.err == nil {
		l.err = err
	}
	return l.blob(mediaType, data)
}

func (l *layout) blob(mediaType string, data []byte) descriptor {
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	l.put("blobs/sha256/"+digest, data)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(data)}
}

func (l *layout) put(name string, data []byte) {
	if l.err != nil {
		return
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: epoch}
	if l.err = l.tar.WriteHeader(h); l.err == nil {
		_, l.err = l.tar.Write(data)
	}
}
