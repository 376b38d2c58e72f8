package volume

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressOfOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		quick := follow("/p/quick", func(string) { t.Error("a quick change was told of") })
		time.Sleep(slowAfter - time.Second)
		quick.end()
		p := follow("/p/v", func(text string) { told = append(told, text) })
		p.files.Add(7)
		time.Sleep(slowAfter + 2*progressEvery + time.Second)
		p.end()
		time.Sleep(time.Hour)
		want := []string{
			"Setting volume ownership for /p/v is taking longer than expected, consider using OnRootMismatch - " + ownerAdvice,
			"Setting volume ownership for /p/v, processed 7 files.", "Setting volume ownership for /p/v, processed 7 files.",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q", told)
		}
	})
}
