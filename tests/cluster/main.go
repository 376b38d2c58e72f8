// The program behind `make cluster` and `make cluster-down`: a Kubernetes cluster on this machine, with Bosun as its only
// node, to be tried by hand. Its tests hold that the control plane that all cluster tests use is what it says.
//
//	cluster up     brings it up and returns; says that it is up if it is
//	cluster down   ends it and removes all it made
//	cluster keep   what stays behind: one process whose children are the control plane and Bosun
//
// Everything is below one directory, .cache/cluster:
//
//	kubeconfig      the administrator's
//	lock            held by the keeper as long as it lives; holds its pid
//	keeper.log      what happened; plane/*.log, node/bosun.log, runtime/containerd.log are those of the parts
//	plane, node     the control plane's files, Bosun's state
//	runtime         the state of a containerd as `bosun up` has it
//	sysctls.json    settings of the kernel as they were before
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// A place is where everything of the cluster is. All paths are absolute.
type place struct {
	dir    string // state
	bin    string // what `make tools` built
	images string // what `make images` built
	bosun  string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run() error {
	var p place
	flags := flag.NewFlagSet("cluster", flag.ExitOnError)
	flags.StringVar(&p.dir, "dir", ".cache/cluster", "directory for all state")
	flags.StringVar(&p.bin, "bin", ".cache/bin", "directory of what `make tools` built")
	flags.StringVar(&p.images, "images", ".cache/images", "directory of what `make images` built")
	flags.StringVar(&p.bosun, "bosun", "bin/bosun", "the node's agent")
	if len(os.Args) < 2 {
		return errors.New("want up or down")
	}
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	for _, path := range []*string{&p.dir, &p.bin, &p.images, &p.bosun} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return errors.New("it must run as root: the node runs containers")
	}
	switch os.Args[1] {
	case "up":
		return p.up()
	case "down":
		return p.down()
	case "keep":
		return p.keep()
	}
	return fmt.Errorf("%q is neither up nor down", os.Args[1])
}

func (p place) file(elem ...string) string { return filepath.Join(append([]string{p.dir}, elem...)...) }
