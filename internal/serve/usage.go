package serve

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/common/expfmt"

	"github.com/bosun-project/bosun/internal/exposition"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/usage"
)

// statsSummary answers /stats/summary.
func (f *Faces) statsSummary(w http.ResponseWriter, r *http.Request) {
	basic, depth := false, usage.Storage
	if r.FormValue("only_cpu_and_memory") == "true" {
		basic, depth = true, usage.Basic
	}
	s, err := f.cfg.Usage.Read(r.Context(), depth)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	f.answer(w, r, exposition.Summary(s, f.cfg.NodeName, basic))
}

// resourceMetrics answers /metrics/resource.
func (f *Faces) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	f.families(w, r, usage.Basic, exposition.Resource)
}

// cadvisorMetrics answers /metrics/cadvisor.
func (f *Faces) cadvisorMetrics(w http.ResponseWriter, r *http.Request) {
	f.families(w, r, usage.Detail, func(s *usage.Snapshot, to exposition.Encoder) error {
		m := &exposition.Machine{Info: f.machine.read(f.cfg.Machine), Kernel: f.cfg.Kernel, OS: f.cfg.OSImage}
		if f.cfg.About != nil {
			m.Version = f.cfg.About.Version
		}
		return exposition.CAdvisor(s, m, to)
	})
}

// families writes families of metrics as the client wants them, one after the other.
func (f *Faces) families(w http.ResponseWriter, r *http.Request, depth usage.Depth, write func(*usage.Snapshot, exposition.Encoder) error) {
	s, err := f.cfg.Usage.Read(r.Context(), depth)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	w.Header().Set("Content-Type", string(format))
	var to io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		defer func() { _ = packed.Close() }() // a client that has left needs no answer
		to = packed
	}
	encoder := expfmt.NewEncoder(to, format)
	if err := write(s, encoder); err != nil {
		f.cfg.Log.Debug("metrics could not be sent", "path", r.URL.Path, "err", err)
		return
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		_ = closer.Close() // as above
	}
}

// described is the machine, which is described once: that takes some milliseconds, and little of it ever changes.
type described struct {
	mu   sync.Mutex
	info *machine.Info
}

// read gives nil if the machine cannot be described now.
func (d *described) read(describe func() (*machine.Info, error)) *machine.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.info == nil && describe != nil {
		d.info, _ = describe() // machine_scrape_error tells of it; /spec/ says why
	}
	return d.info
}
