package agent

import (
	"errors"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/source"
)

// origins are the sources of pods as they are built.
type origins struct {
	*Agent

	running func(types.UID) bool
	cells   []*latest.Cell[source.Snapshot]
}

// buildSources makes the sources of the configuration and those of the command line.
func (a *Agent) buildSources(manifests []string, remembered map[types.UID]plan.Record) error {
	k := &a.cfg.Kubelet
	o := &origins{Agent: a, running: runningBefore(remembered)}
	var wrong []error
	if k.StaticPodPath != "" {
		wrong = append(wrong, o.file(k.StaticPodPath))
	}
	if k.StaticPodURL != "" {
		wrong = append(wrong, o.web(k.StaticPodURL))
	}
	for _, m := range manifests {
		if strings.HasPrefix(m, "http://") || strings.HasPrefix(m, "https://") {
			wrong = append(wrong, o.web(m))
		} else {
			wrong = append(wrong, o.file(m))
		}
	}
	if a.member != nil {
		kept, err := a.buildObjects()
		if err != nil {
			return err
		}
		api := source.NewAPI(source.APIConfig{Bound: a.member.bound.Get, Kept: kept, Away: a.member.away.Get})
		o.add(api.Cell(), actor{"pods of the API", api.Run})
	}
	if a.cfg.ServesNodeAPI() {
		cell, err := a.buildGiven()
		if err != nil {
			return err
		}
		o.cells = append(o.cells, cell)
	}
	if a.cfg.UsesLocalObjects() || a.cfg.ServesNodeAPI() {
		a.buildLocal()
	}
	a.merge = source.NewMerge(a.log, a.note, o.cells...)
	return errors.Join(wrong...)
}

func (o *origins) add(cell *latest.Cell[source.Snapshot], runs actor) {
	o.cells = append(o.cells, cell)
	o.sources = append(o.sources, runs)
}

// file follows manifests in a file or directory.
func (o *origins) file(path string) error {
	f, err := source.NewFile(source.FileConfig{
		Path: path, NodeName: o.host.Name, Every: o.cfg.Kubelet.FileCheckFrequency.Duration, Log: o.log, Notes: o.note, Running: o.running,
		Objects: o.cfg.UsesLocalObjects(),
	})
	if err != nil {
		return err
	}
	o.add(f.Cell(), actor{"manifests in " + path, f.Run})
	return nil
}

// web follows a manifest at a URL.
func (o *origins) web(url string) error {
	k := &o.cfg.Kubelet
	u, err := source.NewURL(source.URLConfig{
		URL: url, Header: http.Header(k.StaticPodURLHeader), NodeName: o.host.Name, Every: k.HTTPCheckFrequency.Duration,
		Log: o.log, Notes: o.note, Running: o.running, Objects: o.cfg.UsesLocalObjects(),
	})
	if err != nil {
		return err
	}
	o.add(u.Cell(), actor{"manifests by URL", u.Run})
	return nil
}

// runningBefore tells whether a pod ran before this agent did, for the choice between manifests of one name.
func runningBefore(remembered map[types.UID]plan.Record) func(types.UID) bool {
	before := make(map[types.UID]bool, len(remembered))
	for uid := range remembered {
		before[uid] = true
	}
	return func(uid types.UID) bool { return before[uid] }
}
