package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options come from the environment, as `make bench BENCH_ROUNDS=3` gives them.
type options struct {
	parts   string        // BENCH_PARTS: files (pods from files), cluster (pods of an API server), or both with a comma
	bosun   string        // BENCH_BOSUN: the binary under test
	kubelet string        // BENCH_KUBELET: the upstream kubelet; "none" leaves it out
	out     string        // BENCH_OUT: directory of the results as JSON lines
	rounds  int           // BENCH_ROUNDS: turns of each agent with single pods
	each    int           // BENCH_EACH: pods of each kind in each turn
	bursts  int           // BENCH_BURSTS: turns with many pods at once; 0 leaves them and the idle part out
	pods    int           // BENCH_PODS: how many pods many are
	idle    time.Duration // BENCH_IDLE: how long the many pods just run; 0 leaves it out
	strict  bool          // BENCH_STRICT: a missed budget is an error
	trace   bool          // BENCH_TRACE: print each CRI call that one pod takes
	null    bool          // BENCH_NULL: measure the floor against itself, which shows how far noise alone goes
	// BENCH_PROFILE: directory for CPU profiles of the nodes of the cluster, some seconds of each turn; they cost CPU themselves
	profile string
	// BENCH_QUICK=1 makes the standards small: for work on the benchmark itself.
}

// none is said for a binary that there is not.
const none = "none"

// has tells whether a part is wanted.
func (o options) has(part string) bool { return slices.Contains(strings.Split(o.parts, ","), part) }

func optionsFromEnvironment() (options, error) {
	wd, err := os.Getwd()
	if err != nil {
		return options{}, err
	}
	var errs []error
	number := func(name string, standard int) int {
		text := os.Getenv(name)
		if text == "" {
			return standard
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			errs = append(errs, fmt.Errorf("%s=%q: want a whole number, 0 or more", name, text))
		}
		return n
	}
	quick := number("BENCH_QUICK", 0) > 0
	count := func(name string, standard, few int) int {
		if quick {
			standard = few
		}
		return number(name, standard)
	}
	o := options{
		parts: envOr("BENCH_PARTS", "files,cluster"),
		bosun: envOr("BENCH_BOSUN", filepath.Join(wd, "bin", "bosun")), kubelet: envOr("BENCH_KUBELET", filepath.Join(wd, ".cache", "bin", "kubelet")),
		out: envOr("BENCH_OUT", filepath.Join(wd, ".cache", "bench")), profile: os.Getenv("BENCH_PROFILE"),
		rounds: count("BENCH_ROUNDS", 6, 1), each: count("BENCH_EACH", 3, 2),
		bursts: count("BENCH_BURSTS", 3, 1), pods: count("BENCH_PODS", 50, 10),
		strict: number("BENCH_STRICT", 0) > 0, trace: number("BENCH_TRACE", 0) > 0, null: number("BENCH_NULL", 0) > 0,
	}
	for part := range strings.SplitSeq(o.parts, ",") {
		if part != "files" && part != "cluster" {
			errs = append(errs, fmt.Errorf("BENCH_PARTS=%q: want files, cluster, or both with a comma", o.parts))
		}
	}
	idle := "45s"
	if quick {
		idle = "0s"
	}
	text := envOr("BENCH_IDLE", idle)
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	if o.idle, err = time.ParseDuration(text); err != nil || o.idle < 0 {
		errs = append(errs, fmt.Errorf("BENCH_IDLE=%q: want a duration such as 45s, or seconds", text))
	}
	for _, binary := range []*string{&o.bosun, &o.kubelet} {
		if *binary != none && !filepath.IsAbs(*binary) {
			*binary = filepath.Join(wd, *binary)
		}
	}
	return o, errors.Join(errs...)
}

func envOr(name, standard string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return standard
}
