package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/usage"
)

// Volumes of claims are told of once, however many pods use them; logs by container. What is not known is left out.
func TestDisks(t *testing.T) {
	m := New(Config{NodeName: "n"})
	data := usage.Volume{Name: "v", Claim: "data", Filesystem: usage.Filesystem{Capacity: usage.Of(1000), Available: usage.Of(700), Used: usage.Of(300), Inodes: usage.Of(10), InodesFree: usage.Of(7), InodesUsed: usage.Of(3)}}
	m.Disks(func() []usage.Pod {
		return []usage.Pod{
			{
				Namespace: "shop", Name: "a", UID: "ua", Volumes: []usage.Volume{data, {Name: "scratch", Filesystem: data.Filesystem}},
				Containers: []usage.Container{{Name: "app", Logs: &usage.Filesystem{Used: usage.Of(4096)}}, {Name: "quiet"}},
			},
			{Namespace: "shop", Name: "b", UID: "ub", Volumes: []usage.Volume{data, {Name: "w", Claim: "half", Filesystem: usage.Filesystem{Used: usage.Of(5)}}}},
		}
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "kubelet_volume_stats_") || strings.HasPrefix(line, "kubelet_container_log_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`kubelet_container_log_filesystem_used_bytes{container="app",namespace="shop",pod="a",uid="ua"} 4096`,
		`kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="data"} 700`,
		`kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data"} 1000`,
		`kubelet_volume_stats_inodes{namespace="shop",persistentvolumeclaim="data"} 10`,
		`kubelet_volume_stats_inodes_free{namespace="shop",persistentvolumeclaim="data"} 7`,
		`kubelet_volume_stats_inodes_used{namespace="shop",persistentvolumeclaim="data"} 3`,
		`kubelet_volume_stats_used_bytes{namespace="shop",persistentvolumeclaim="data"} 300`,
		`kubelet_volume_stats_used_bytes{namespace="shop",persistentvolumeclaim="half"} 5`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
