package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// options come from the environment, as `make bench BENCH_ROUNDS=3` gives them.
type options struct {
	bosun  string        // BENCH_BOSUN: the binary under test
	out    string        // BENCH_OUT: directory of the results as JSON lines
	rounds int           // BENCH_ROUNDS: turns of each agent with single pods
	each   int           // BENCH_EACH: pods in each turn
	bursts int           // BENCH_BURSTS: turns with many pods at once; 0 leaves them and the idle part out
	pods   int           // BENCH_PODS: how many pods many are
	idle   time.Duration // BENCH_IDLE: how long the many pods just run; 0 leaves it out
	strict bool          // BENCH_STRICT: a missed budget is an error
	trace  bool          // BENCH_TRACE: print each CRI call that one pod takes
	null   bool          // BENCH_NULL: measure the floor against itself, which shows how far noise alone goes
}

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
	o := options{
		bosun: envOr("BENCH_BOSUN", filepath.Join(wd, "bin", "bosun")), out: envOr("BENCH_OUT", filepath.Join(wd, ".cache", "bench")),
		rounds: number("BENCH_ROUNDS", 8), each: number("BENCH_EACH", 3),
		bursts: number("BENCH_BURSTS", 4), pods: number("BENCH_PODS", 50),
		strict: number("BENCH_STRICT", 0) > 0, trace: number("BENCH_TRACE", 0) > 0, null: number("BENCH_NULL", 0) > 0,
	}
	text := envOr("BENCH_IDLE", "60s")
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	if o.idle, err = time.ParseDuration(text); err != nil || o.idle < 0 {
		errs = append(errs, fmt.Errorf("BENCH_IDLE=%q: want a duration such as 60s, or seconds", text))
	}
	if !filepath.IsAbs(o.bosun) {
		o.bosun = filepath.Join(wd, o.bosun)
	}
	return o, errors.Join(errs...)
}

func envOr(name, standard string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return standard
}
