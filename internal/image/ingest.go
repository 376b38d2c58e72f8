package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// listStatuses is the method of containerd's content store that lists downloads in progress. Its messages are small
// and frozen (containerd.services.content.v1), so they are read here by hand: containerd's own API module would bring
// a second RPC system into the binary.
const listStatuses = "/containerd.services.content.v1.Content/ListStatuses"

// ContainerdIngests reads downloads in progress from containerd, over the same socket as CRI.
type ContainerdIngests struct {
	conn      grpc.ClientConnInterface
	namespace string
}

// NewContainerdIngests builds one; the namespace is that of containerd's CRI plugin, k8s.io if empty.
func NewContainerdIngests(conn grpc.ClientConnInterface, namespace string) *ContainerdIngests {
	if namespace == "" {
		namespace = "k8s.io"
	}
	return &ContainerdIngests{conn: conn, namespace: namespace}
}

// List returns the downloads in progress. A runtime that is not containerd answers with code Unimplemented.
func (c *ContainerdIngests) List(ctx context.Context) ([]Ingest, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", c.namespace)
	var request, response []byte // no filter: everything
	if err := c.conn.Invoke(ctx, listStatuses, &request, &response, grpc.ForceCodec(verbatim{})); err != nil {
		return nil, err
	}
	return parseIngests(response)
}

// verbatim is a gRPC codec for messages that are bytes already.
type verbatim struct{}

func (verbatim) Name() string { return "proto" }

func (verbatim) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return *b, nil
}

func (verbatim) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

var errWire = errors.New("containerd's answer is malformed")

// parseIngests reads a ListStatusesResponse: field 1 repeats a Status.
func parseIngests(data []byte) ([]Ingest, error) {
	var all []Ingest
	err := eachField(data, func(n protowire.Number, _ uint64, b []byte) error {
		if n != 1 || b == nil {
			return nil
		}
		in, err := parseStatus(b)
		if err != nil {
			return err
		}
		all = append(all, in)
		return nil
	})
	return all, err
}

// parseStatus reads a Status: 2 updated_at, 3 ref, 4 offset, 5 total.
func parseStatus(data []byte) (in Ingest, err error) {
	err = eachField(data, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 2:
			in.Updated, err = parseTime(b)
			return err
		case 3:
			in.Ref = string(b)
		case 4:
			in.Offset = int64(v)
		case 5:
			in.Total = int64(v)
		}
		return nil
	})
	return in, err
}

// parseTime reads a google.protobuf.Timestamp: 1 seconds, 2 nanos.
func parseTime(data []byte) (time.Time, error) {
	var seconds, nanos int64
	err := eachField(data, func(n protowire.Number, v uint64, _ []byte) error {
		switch n {
		case 1:
			seconds = int64(v)
		case 2:
			nanos = int64(v)
		}
		return nil
	})
	return time.Unix(seconds, nanos), err
}

// eachField walks over a message. V is the value of a varint; b that of a field of bytes, never nil for one.
func eachField(data []byte, visit func(n protowire.Number, v uint64, b []byte) error) error {
	for len(data) > 0 {
		n, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return errWire
		}
		data = data[size:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(data)
		default:
			size = protowire.ConsumeFieldValue(n, kind, data)
		}
		if size < 0 {
			return errWire
		}
		data = data[size:]
		if err := visit(n, v, b); err != nil {
			return err
		}
	}
	return nil
}
