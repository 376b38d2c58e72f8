package ledger

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// BenchmarkSave shows what a save costs alone and among many; p50-µs is what one saver waits.
func BenchmarkSave(b *testing.B) {
	for _, savers := range []int{1, 50} {
		b.Run(fmt.Sprint("savers=", savers), func(b *testing.B) {
			l, err := Open(filepath.Join(b.TempDir(), "bosun.db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var writer, group sync.WaitGroup
			writer.Go(func() { _ = l.Run(ctx) })
			var mu sync.Mutex
			var all []time.Duration
			for s := range savers {
				group.Go(func() {
					var took []time.Duration
					for i := range max(b.N/savers, 1) {
						began := time.Now()
						if err := l.Save(ctx, types.UID(fmt.Sprint("pod-", s)), fullRecord(i)); err != nil {
							b.Error(err)
						}
						took = append(took, time.Since(began))
					}
					mu.Lock()
					all = append(all, took...)
					mu.Unlock()
				})
			}
			group.Wait()
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			cancel()
			writer.Wait()
			_ = l.Close()
		})
	}
}
