package boxruntime

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeRuntime answers with a name and conditions.
type fakeRuntime struct {
	cri.UnimplementedRuntimeServiceServer
	name       string
	conditions []*cri.RuntimeCondition
}

func (f fakeRuntime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: f.name, RuntimeVersion: "1.2.3", RuntimeApiVersion: "v1"}, nil
}

func (f fakeRuntime) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return &cri.StatusResponse{Status: &cri.RuntimeStatus{Conditions: f.conditions}}, nil
}

// serve answers on a socket until the test ends and returns its endpoint.
func serve(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "box") // t.TempDir gives longer paths than sockets may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return "unix://" + path
}

func TestAnswersOfRuntimes(t *testing.T) {
	crio := serve(t, func(s *grpc.Server) {
		cri.RegisterRuntimeServiceServer(s, fakeRuntime{name: "cri-o", conditions: []*cri.RuntimeCondition{
			{Type: "RuntimeReady", Status: true}, {Type: "NetworkReady", Reason: "NoNetwork", Message: "no network configured"}, {Type: "Other"},
		}})
	})
	docker := serve(t, func(*grpc.Server) {})

	want := Answer{Endpoint: crio, Name: "cri-o", Version: "1.2.3"}
	if got, err := Answers(t.Context(), crio); err != nil || got != want {
		t.Errorf("answer is %+v, %v; want %+v", got, err, want)
	}
	if got, err := Answers(t.Context(), docker); err == nil || !strings.Contains(err.Error(), "disabled_plugins") {
		t.Errorf("a containerd without CRI gave %+v, %v", got, err)
	}
	if got, err := FirstAnswer(t.Context(), []string{"/none", docker, crio}); err != nil || got != want {
		t.Errorf("first answer is %+v, %v; want %+v", got, err, want)
	}
	lacking, err := NotReady(t.Context(), crio)
	if diff := cmp.Diff([]string{"NetworkReady: no network configured"}, lacking); err != nil || diff != "" {
		t.Errorf("not ready: %v\n%s", err, diff)
	}
	if _, err := NotReady(t.Context(), docker); err == nil {
		t.Error("a runtime without CRI is ready")
	}
	loader := Loader{RuntimeDir: t.TempDir(), Endpoint: crio}
	if _, err := loader.Load(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "is cri-o; archives can only be loaded into containerd") {
		t.Errorf("loading into CRI-O: %v", err)
	}
	loader.Endpoint = serve(t, func(s *grpc.Server) { cri.RegisterRuntimeServiceServer(s, fakeRuntime{name: "containerd"}) })
	if _, err := loader.Load(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "ctr") {
		t.Errorf("loading without ctr: %v", err)
	}
}
