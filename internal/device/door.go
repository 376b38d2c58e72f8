package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/validation"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bosun-project/bosun/internal/allocate"
)

// Dir is where plugins that register by themselves have their sockets, below the state directory; Socket is the agent's there.
const (
	Dir    = "device-plugins"
	Socket = "kubelet.sock"
)

// Door is the socket at which plugins register.
type Door struct {
	pb.UnimplementedRegistrationServer
	dir   string
	enter func(resource, socket string)
}

// NewDoor builds the Door in a directory. enter is told of each plugin that registers, and must not wait for it: plugins begin to
// serve when they were answered.
func NewDoor(dir string, enter func(resource, socket string)) *Door {
	return &Door{dir: dir, enter: enter}
}

// Run serves until ctx ends. At first all sockets in the directory go: plugins see from that, and from the new socket, that they have
// to register again.
func (d *Door) Run(ctx context.Context) error {
	if err := d.empty(); err != nil {
		return fmt.Errorf("empty the directory of device plugins: %w", err)
	}
	listener, err := net.Listen("unix", filepath.Join(d.dir, Socket))
	if err != nil {
		return fmt.Errorf("listen for device plugins: %w", err)
	}
	server := grpc.NewServer(grpc.ReadBufferSize(bufferSize), grpc.WriteBufferSize(bufferSize))
	pb.RegisterRegistrationServer(server, d)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("listen for device plugins: %w", err)
	}
	return nil
}

// empty makes the directory, and removes the sockets in it.
func (d *Door) empty() error {
	if err := os.MkdirAll(d.dir, 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSocket == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(d.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Register implements the service that plugins call.
func (d *Door) Register(_ context.Context, r *pb.RegisterRequest) (*pb.Empty, error) {
	if err := Valid(r.GetResourceName(), r.GetVersion()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if e := r.GetEndpoint(); e == "" || e == "." || e == ".." || e == Socket || strings.ContainsRune(e, '/') {
		return nil, status.Errorf(codes.InvalidArgument, "endpoint %q must be the name of a socket in %s, other than %s", e, d.dir, Socket)
	}
	d.enter(r.GetResourceName(), filepath.Join(d.dir, r.GetEndpoint()))
	return &pb.Empty{}, nil
}

// Valid tells why a plugin for a resource that speaks some versions cannot be used; nil if it can.
func Valid(resource string, versions ...string) error {
	known := false
	for _, v := range versions {
		known = known || v == pb.Version
	}
	switch {
	case !known:
		return fmt.Errorf("the device plugin of %q speaks the versions [%s]; what works is %s", resource, strings.Join(versions, ", "), pb.Version)
	case !allocate.Extended(resource):
		return fmt.Errorf("the resource %q of a device plugin must have a name of the form example.com/device, with a domain other than kubernetes.io", resource)
	}
	// Quotas name resources with a prefix, which has to fit in as well.
	if wrong := validation.IsQualifiedName("requests." + resource); len(wrong) > 0 {
		return fmt.Errorf("the resource %q of a device plugin: %s", resource, strings.Join(wrong, "; "))
	}
	return nil
}
