package integration

import (
	"flag"
	"testing"

	"github.com/bosun-project/bosun/internal/testbed"
)

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen { // these tests mostly wait
		_ = flag.Set("test.parallel", "12") // the flag is always there
	}
	testbed.Main(m)
}
