package serve

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/config"
)

// component is the name under which this program speaks of itself to tools that expect a kubelet.
const component = "kubelet"

// notForMachines is what stands at the head of pages for people.
const notForMachines = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.\n\n"

// configz shows the configuration in force.
func (f *Faces) configz(w http.ResponseWriter, r *http.Request) {
	f.answer(w, r, map[string]*config.KubeletConfiguration{"kubeletconfig": f.cfg.Kubelet})
}

// page is the head of a page for machines.
type page struct {
	Kind       string            `json:"kind"`
	APIVersion string            `json:"apiVersion"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
}

// statuszPage is config.k8s.io Statusz.
type statuszPage struct {
	page
	StartTime     metav1.Time `json:"startTime"`
	UptimeSeconds int64       `json:"uptimeSeconds"`
	GoVersion     string      `json:"goVersion"`
	BinaryVersion string      `json:"binaryVersion"`
	Emulation     string      `json:"emulationVersion,omitempty"`
	Paths         []string    `json:"paths,omitempty"`
}

// flagzPage is config.k8s.io Flagz.
type flagzPage struct {
	page
	Flags map[string]string `json:"flags,omitempty"`
}

// statusz shows what runs here and since when.
func (f *Faces) statusz(w http.ResponseWriter, r *http.Request) {
	head, plainly, ok := wanted(r, "Statusz")
	if !ok {
		notAcceptable(w)
		return
	}
	about := f.cfg.About
	up := max(f.now().Sub(about.Started), 0)
	minor := about.Version
	if parts := strings.SplitN(strings.TrimPrefix(about.Version, "v"), ".", 3); len(parts) == 3 {
		minor = parts[0] + "." + parts[1]
	}
	paths := f.shown()
	if !plainly {
		f.answer(w, r, statuszPage{head, metav1.NewTime(about.Started.UTC().Truncate(time.Second)), int64(up / time.Second), goruntime.Version(), about.Version, minor, paths})
		return
	}
	plain(w, fmt.Sprintf("\n%s statusz\n%sStarted: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\nEmulation version: %s\nPaths: %s\n",
		component, notForMachines, about.Started.UTC().Format(time.UnixDate), int(up.Hours()), int(up.Minutes())%60, int(up.Seconds())%60,
		goruntime.Version(), about.Version, minor, strings.Join(paths, " ")))
}

// shown are the pages worth a look.
func (f *Faces) shown() []string {
	paths := []string{"/healthz", "/metrics", "/statusz"}
	if f.cfg.Kubelet != nil {
		paths = append(paths, "/configz")
	}
	if f.cfg.Flags != nil {
		paths = append(paths, "/flagz")
	}
	if f.cfg.Debugging {
		paths = append(paths, "/debug")
	}
	slices.Sort(paths)
	return paths
}

// flagz shows the flags in force.
func (f *Faces) flagz(w http.ResponseWriter, r *http.Request) {
	head, plainly, ok := wanted(r, "Flagz")
	if !ok {
		notAcceptable(w)
		return
	}
	flags := f.cfg.Flags()
	if !plainly {
		f.answer(w, r, flagzPage{head, flags})
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s flagz\n%s", component, notForMachines)
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		fmt.Fprintf(&text, "%s=%s\n", name, flags[name])
	}
	plain(w, text.String())
}

// wanted reads Accept: whether plain text is wanted, or JSON of this kind, and if so the head of it. JSON must be asked
// for with group, version and kind; the first that can be served is.
func wanted(r *http.Request, kind string) (head page, plainly, ok bool) {
	accepted := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accepted) == "" {
		return page{}, true, true
	}
	for one := range strings.SplitSeq(accepted, ",") {
		media, params, err := mime.ParseMediaType(one)
		switch {
		case err != nil:
		case media == "text/plain", media == "text/*", media == "*/*":
			return page{}, true, true
		case media == "application/json" && params["g"] == "config.k8s.io" && params["as"] == kind && (params["v"] == "v1alpha1" || params["v"] == "v1beta1"):
			return page{kind, "config.k8s.io/" + params["v"], metav1.ObjectMeta{Name: component}}, false, true
		}
	}
	return page{}, false, false
}

func notAcceptable(w http.ResponseWriter) {
	http.Error(w, "only text/plain and application/json;v=v1beta1;g=config.k8s.io;as=KIND can be had", http.StatusNotAcceptable)
}

// verbosity sets how much is logged.
func (f *Faces) verbosity(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 64))
	if err != nil {
		http.Error(w, "the level cannot be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || level < 0 || level > 10 {
		http.Error(w, fmt.Sprintf("%q is not a level from 0 to 10", text), http.StatusBadRequest)
		return
	}
	f.cfg.SetVerbosity(level)
	f.cfg.Log.Info("how much is logged was changed", "level", level)
	plain(w, fmt.Sprintf("successfully set klog.logging.verbosity to %d", level))
}
