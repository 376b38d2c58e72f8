package image

import (
	"context"
	"net"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// statusMessage writes a containerd.services.content.v1.Status as protoc's code would.
func statusMessage(ref string, offset, total uint64, updated time.Time) []byte {
	var stamp, m []byte
	stamp = protowire.AppendVarint(protowire.AppendTag(stamp, 1, protowire.VarintType), uint64(updated.Unix()))
	stamp = protowire.AppendVarint(protowire.AppendTag(stamp, 2, protowire.VarintType), uint64(updated.Nanosecond()))
	m = protowire.AppendBytes(protowire.AppendTag(m, 1, protowire.BytesType), stamp)
	m = protowire.AppendBytes(protowire.AppendTag(m, 2, protowire.BytesType), stamp)
	m = protowire.AppendString(protowire.AppendTag(m, 3, protowire.BytesType), ref)
	m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), offset)
	m = protowire.AppendVarint(protowire.AppendTag(m, 5, protowire.VarintType), total)
	m = protowire.AppendString(protowire.AppendTag(m, 6, protowire.BytesType), "sha256:expected")
	return protowire.AppendFixed32(protowire.AppendTag(m, 99, protowire.Fixed32Type), 1) // from the future
}

func listMessage(statuses ...[]byte) []byte {
	var m []byte
	for _, s := range statuses {
		m = protowire.AppendBytes(protowire.AppendTag(m, 1, protowire.BytesType), s)
	}
	return m
}

func TestContainerdIngests(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 5000, time.UTC)
	answer := listMessage(statusMessage("layer-sha256:1", 10, 100, at), statusMessage("index-sha256:2", 0, 0, at))
	var namespace []string
	var fail error
	server := grpc.NewServer(grpc.ForceServerCodec(verbatim{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(s); method != listStatuses {
			return status.Error(codes.Unimplemented, method)
		}
		md, _ := metadata.FromIncomingContext(s.Context())
		namespace = md.Get("containerd-namespace")
		var request []byte
		if err := s.RecvMsg(&request); err != nil {
			return err
		}
		if fail != nil {
			return fail
		}
		return s.SendMsg(&answer)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	got, err := NewContainerdIngests(conn, "").List(ctx)
	if err != nil || len(got) != 2 || len(namespace) != 1 || namespace[0] != "k8s.io" {
		t.Fatalf("%+v, %v, namespace %q", got, err, namespace)
	}
	if want := (Ingest{"layer-sha256:1", 10, 100, at}); !got[0].Updated.Equal(at) || !reflect.DeepEqual(Ingest{got[0].Ref, got[0].Offset, got[0].Total, at}, want) {
		t.Errorf("%+v, want %+v", got[0], want)
	}
	if _, err := NewContainerdIngests(conn, "other").List(ctx); err != nil || namespace[0] != "other" {
		t.Errorf("namespace %q, %v", namespace, err)
	}
	answer = []byte{0x0a, 0xff}
	if _, err := NewContainerdIngests(conn, "").List(ctx); err != errWire {
		t.Errorf("malformed answer: %v", err)
	}
	fail = status.Error(codes.Unimplemented, "unknown service")
	if _, err := NewContainerdIngests(conn, "").List(ctx); status.Code(err) != codes.Unimplemented {
		t.Errorf("another runtime: %v", err)
	}
}

func FuzzParseIngests(f *testing.F) {
	f.Add(listMessage(statusMessage("layer", 1, 2, time.Unix(1, 2))))
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseIngests(data)
		if err != nil {
			return
		}
		var m meter
		m.read(all, time.Time{})
		for ref, in := range m.seen {
			if in.Offset < 0 || in.Offset > in.Total {
				t.Errorf("%q: %d of %d bytes", ref, in.Offset, in.Total)
			}
		}
	})
}
