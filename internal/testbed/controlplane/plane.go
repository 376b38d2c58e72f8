package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// startDeadline bounds everything that starts here; all of it takes some seconds on an idle machine.
const startDeadline = 3 * time.Minute

// Options choose what a control plane is like. The zero value is right for most tests.
type Options struct {
	// Dir holds all its files; it must be empty or not exist. Default: a directory that goes with the test, for [Open] a
	// temporary one that [Plane.Stop] removes.
	Dir string
	// BinDir holds etcd, kube-* and kubectl. Default: .cache/bin of this checkout, where `make tools` puts them.
	BinDir string
	// Ports are wanted, not demanded: one that is taken is replaced. Default: any free ones.
	Ports Ports
	// BindAddress is where the API server listens. Default 127.0.0.1. Pods reach it only when it is another, such as 0.0.0.0.
	BindAddress string
	// Hosts are more names and addresses in the API server's certificate: 127.0.0.1, localhost, kubernetes.default.svc and
	// the advertised address are always there.
	Hosts []string
	// AdvertiseAddress must not be loopback's. Default: an address of this machine; 192.0.2.1 if it has none.
	AdvertiseAddress string
	// ServiceCIDR is where Services get their addresses; two, with a comma, are dual stack. Default: a free range.
	ServiceCIDR string
	// More flags of each program, after those it has anyway; the last of a kind wins.
	APIServer, ControllerManager, Scheduler []string
}

// A Plane is a running control plane. Exported fields are set before Open returns and do not change.
type Plane struct {
	Dir             string
	URL             string // of the API server
	CAFile          string // the authority of the cluster: of the API server, of nodes and what they serve
	AdminKubeconfig string // for system:masters
	KubectlPath     string
	AuditLog        string // JSON, one event a line; see [Plane.Audit]
	ServiceCIDR     string
	Took            StartTimes

	options     Options
	binDir      string
	ports       Ports
	advertise   string
	serviceCIDR string
	ownDir      bool // Stop removes it

	ca, etcdCA, frontCA *authority
	admin               *kubernetes.Clientset
	plain               *http.Client // asks /readyz
	files               atomic.Int32 // counts files whose names must differ
	namespaces          atomic.Int32

	mu                                      sync.Mutex // of the processes
	etcd, apiServer, controllers, scheduler *Process
}

// Start brings up a control plane for one test, or a benchmark, and ends it when that is over. If the test failed, the
// end of each log is in its own.
func Start(tb testing.TB, options Options) *Plane {
	tb.Helper()
	if options.Dir == "" {
		options.Dir = tb.TempDir()
	}
	ctx, cancel := context.WithTimeout(tb.Context(), startDeadline)
	defer cancel()
	p, err := Open(ctx, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Log(p.LogTails(1500))
		}
		if err := p.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// Open brings up a control plane. It returns when the API server is ready, bootstrap tokens are good for what
// they are for, and pods can be made in the namespace default.
func Open(ctx context.Context, options Options) (*Plane, error) {
	p, err := prepare(options)
	if err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	if err := p.open(ctx); err != nil {
		return nil, fmt.Errorf("control plane: %w", errors.Join(err, p.Stop()))
	}
	return p, nil
}

// prepare chooses ports and addresses, and writes certificates.
func prepare(options Options) (*Plane, error) {
	p := &Plane{options: options, binDir: options.BinDir, advertise: options.AdvertiseAddress, serviceCIDR: options.ServiceCIDR}
	if err := p.chooseDirs(); err != nil {
		return nil, err
	}
	var err error
	if p.options.BindAddress == "" {
		p.options.BindAddress = "127.0.0.1"
	}
	if p.advertise == "" {
		p.advertise = OwnAddress()
	}
	if p.serviceCIDR == "" {
		if p.serviceCIDR, err = freeServiceCIDR(); err != nil {
			return nil, err
		}
	}
	p.ServiceCIDR = p.serviceCIDR
	if p.ports, err = options.Ports.choose(); err != nil {
		return nil, err
	}
	p.URL = fmt.Sprint("https://127.0.0.1:", p.ports.APIServer)
	p.CAFile, p.AuditLog, p.AdminKubeconfig = p.file("ca.crt"), p.file("audit.log"), p.file("admin.kubeconfig")
	p.KubectlPath = filepath.Join(p.binDir, "kubectl")
	if err := p.writeSecrets(options.Hosts); err != nil {
		return nil, fmt.Errorf("write certificates: %w", err)
	}
	config, err := p.RESTConfig()
	if err != nil {
		return nil, err
	}
	if p.admin, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	// Each question on a connection of its own: one that began while the server started tells nothing.
	p.plain = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.ca.pool()}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	return p, nil
}

func (p *Plane) chooseDirs() error {
	if p.binDir == "" {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		p.binDir = filepath.Join(moduleRoot(wd), ".cache", "bin")
	}
	if _, err := os.Stat(filepath.Join(p.binDir, "kube-apiserver")); err != nil {
		return fmt.Errorf("%w; run `make tools` first", err)
	}
	p.Dir = p.options.Dir
	if p.Dir == "" {
		dir, err := os.MkdirTemp("", "controlplane")
		p.Dir, p.ownDir = dir, true
		return err
	}
	return os.MkdirAll(p.Dir, 0o700)
}

// moduleRoot is the nearest directory upwards with a go.mod.
func moduleRoot(dir string) string {
	for at := dir; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
	}
	return dir
}

func (p *Plane) open(ctx context.Context) error {
	began := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	// The API server looks for etcd only after a while of its own.
	var err error
	if p.etcd, err = p.etcdProgram().Start(); err != nil {
		return err
	}
	if p.apiServer, err = p.apiServerProgram().Start(); err != nil {
		return err
	}
	// These ask once a second whether the API server is well: it must be before they ask first.
	if err := p.apiServer.Await(ctx, func(ctx context.Context) error { return p.healthy(ctx, "/livez") }); err != nil {
		return errors.Join(err, p.whyEtcd())
	}
	if p.controllers, err = p.controllerManagerProgram().Start(); err != nil {
		return err
	}
	if p.scheduler, err = p.schedulerProgram().Start(); err != nil {
		return err
	}
	if err := p.apiServer.Await(ctx, func(ctx context.Context) error { return p.healthy(ctx, "/readyz") }); err != nil {
		return err
	}
	p.Took.APIServer = time.Since(began)
	if err := p.allowBootstrap(ctx); err != nil {
		return err
	}
	if err := p.awaitNamespace(ctx, metav1.NamespaceDefault); err != nil {
		return err
	}
	p.Took.ServiceAccount = time.Since(began)
	return nil
}

// whyEtcd tells what etcd said, if that ended: the API server's complaint is then about the wrong thing.
func (p *Plane) whyEtcd() error {
	if p.etcd.alive() {
		return nil
	}
	return fmt.Errorf("etcd ended (%v); its log %s ends with:\n%s", p.etcd.cmd.ProcessState, p.etcd.Log(), tail(p.etcd.Log(), 3000))
}

// healthy asks the API server how it is: /livez or /readyz.
func (p *Plane) healthy(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.plain.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 2000)) // only to say more
		return fmt.Errorf("%s: %s: %s", path, resp.Status, said)
	}
	return nil
}

// awaitNamespace waits for what a pod needs of its namespace: the default service account and the authority's certificate.
func (p *Plane) awaitNamespace(ctx context.Context, namespace string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return p.controllers.Await(ctx, func(ctx context.Context) error {
			_, err := p.admin.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
	})
	group.Go(func() error {
		return p.controllers.Await(ctx, func(ctx context.Context) error {
			_, err := p.admin.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err
		})
	})
	return group.Wait()
}

// Stop ends everything at once; what etcd holds is lost if the directory is ours.
func (p *Plane) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, part := range []**Process{&p.scheduler, &p.controllers, &p.apiServer, &p.etcd} {
		errs = append(errs, (*part).End(syscall.SIGKILL))
		*part = nil
	}
	if p.ownDir {
		errs = append(errs, os.RemoveAll(p.Dir))
	}
	return errors.Join(errs...)
}

// RESTConfig is an administrator's, without client-go's own limit on requests.
func (p *Plane) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", p.AdminKubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// Client is an administrator's.
func (p *Plane) Client() kubernetes.Interface { return p.admin }

// Namespace makes a namespace for one test, in which pods can be made at once, and returns its name. After the test it is
// deleted with all in it; nobody waits for that.
func (p *Plane) Namespace(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startDeadline)
	defer cancel()
	name := fmt.Sprintf("%s-%d", dnsLabel(tb.Name(), 40), p.namespaces.Add(1))
	if _, err := p.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.admin.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			tb.Logf("delete namespace %s: %v", name, err) // the test may have broken the API server on purpose
		}
	})
	if err := p.awaitNamespace(ctx, name); err != nil {
		tb.Fatal(err)
	}
	return name
}

// dnsLabel makes a DNS label out of a test's name.
func dnsLabel(name string, most int) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	return strings.Trim(label[:min(len(label), most)], "-")
}

// LogTails is the end of the log of each part, at most so many bytes each.
func (p *Plane) LogTails(most int64) string {
	var all strings.Builder
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		fmt.Fprintf(&all, "%s said at last:\n%s\n", name, tail(p.file(name+".log"), most))
	}
	return all.String()
}
