package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// ready is the keeper's last word to whoever started it.
const ready = "ready"

// up starts a keeper and passes on what it says, until all is up or it has given up.
func (p place) up() error {
	pid, err := p.keeper()
	if err != nil {
		return err
	}
	if pid != 0 {
		if _, err := os.Stat(p.file("kubeconfig")); err != nil {
			return fmt.Errorf("it is being brought up or ended at this moment by process %d; its log is %s", pid, p.file("keeper.log"))
		}
		fmt.Printf("The cluster is up already, kept by process %d.\n", pid)
		fmt.Print(p.usage())
		return nil
	}
	if err := p.sweep(); err != nil { // what a keeper left that was killed, or a reboot
		return fmt.Errorf("remove what is left of an earlier cluster: %w", err)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	said, err := p.startKeeper()
	if err != nil {
		return err
	}
	defer said.Close()
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if lines.Text() == ready {
			fmt.Print(p.usage())
			return nil
		}
		fmt.Println(lines.Text())
	}
	return fmt.Errorf("it could not be brought up; the log is %s", p.file("keeper.log"))
}

// startKeeper starts this program again as the keeper, in a session of its own, and returns what it says.
func (p place) startKeeper() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	log, err := os.OpenFile(p.file("keeper.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", "keep", "-dir", p.dir, "-bin", p.bin, "-images", p.images, "-bosun", p.bosun)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	return r, cmd.Process.Release()
}

// usage says what to do with the cluster.
func (p place) usage() string {
	return strings.NewReplacer("DIR", p.dir, "BIN", p.bin, "BOSUN", p.bosun, "ROOT", filepath.Join(p.dir, "node")).Replace(`
  export KUBECONFIG=DIR/kubeconfig PATH=BIN:$PATH

  kubectl get nodes -o wide
  kubectl apply -f DIR/web.yaml        # a Deployment with ConfigMap, Secret and Service
  kubectl get pods -o wide -w
  kubectl logs -f deploy/web -c log
  kubectl exec -it deploy/web -c log -- sh
  kubectl port-forward deploy/web 8080:80
  kubectl rollout restart deploy/web
  BOSUN explain --root-dir ROOT        # what the node itself says

There is no registry: the images are nginx, busybox and bosun/testbox, with imagePullPolicy: IfNotPresent. There is neither
kube-proxy nor DNS: the address of a Service leads nowhere, its endpoints do.
Logs: DIR/node/bosun.log, DIR/plane/*.log, DIR/keeper.log. End it with: make cluster-down
`)
}
