package integration

import (
	"testing"

	"github.com/bosun-project/bosun/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }
