package nodeapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// watchFor is how long a watch goes on for a client that does not say.
	watchFor = 30 * time.Minute
	// bookmarkEvery is how often a watcher that wants to is told how far it is.
	bookmarkEvery = time.Minute
)

// watcher is one client that follows a kind.
type watcher struct {
	api       *API
	selection selection
	table     bool
	include   string
	bookmarks bool
	// version is what the client has; headed tells that it was sent a table's columns.
	version uint64
	headed  bool
	// has are the objects that the client knows to be selected.
	has  map[types.UID]bool
	send func(what string, object any) error
}

// watch tells of changes until the client leaves or its time is over.
func (a *API) watch(w http.ResponseWriter, q *request, s selection, asTable bool) error {
	query := q.URL.Query()
	span, err := q.seconds("timeoutSeconds", watchFor)
	if err != nil {
		return err
	}
	out := &watcher{api: a, selection: s, table: asTable, include: query.Get("includeObject"), has: map[types.UID]bool{}}
	out.bookmarks, _ = strconv.ParseBool(query.Get("allowWatchBookmarks"))
	initial, _ := strconv.ParseBool(query.Get("sendInitialEvents"))
	from := query.Get("resourceVersion")
	if !initial && from != "" && from != "0" {
		if out.version, err = strconv.ParseUint(from, 10, 64); err != nil {
			return badRequest("resourceVersion: %q is none of this API", from)
		}
	}
	all, version, fresh := a.world.list(q.Context(), q.kind)
	if _, known := a.world.since(q.kind, out.version); out.version != 0 && !known {
		return apierrors.NewResourceExpired("too old resource version: " + from + "; list again")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	control, encode := http.NewResponseController(w), json.NewEncoder(w)
	out.send = func(what string, object any) error {
		return encode.Encode(struct {
			Type   string `json:"type"`
			Object any    `json:"object"`
		}{what, object})
	}
	for _, o := range all { // what was there before is known to the client, or is told now
		switch selected := s.has(o); {
		case selected && out.version == 0:
			out.has[o.GetUID()] = true
			err = out.tell("ADDED", o)
		case selected && versionOf(o) <= out.version:
			out.has[o.GetUID()] = true
		}
		if err != nil {
			return nil // the client has left
		}
	}
	if out.version == 0 {
		out.version = version
	}
	if initial && out.bookmark(true) != nil {
		return nil
	}
	if control.Flush() != nil {
		return nil
	}
	out.follow(q, span, fresh, control.Flush)
	return nil
}

func versionOf(o object) uint64 {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil { // it is of our own making
		return 0
	}
	return n
}

// follow tells of what is new until there is nobody to tell.
func (o *watcher) follow(q *request, span time.Duration, fresh news, flush func() error) {
	end, tick := time.NewTimer(span), time.NewTicker(bookmarkEvery)
	defer end.Stop()
	defer tick.Stop()
	for {
		changes, known := o.api.world.since(q.kind, o.version)
		if !known { // more is gone than is remembered
			_ = o.send("ERROR", statusOf(apierrors.NewResourceExpired("too much has happened; list again")))
			_ = flush()
			return
		}
		told := false
		for _, c := range changes {
			sent, err := o.change(c)
			if err != nil {
				return
			}
			told = told || sent
			o.version = max(o.version, c.version)
		}
		if told && flush() != nil {
			return
		}
		switch wait(q, end.C, tick.C, fresh) {
		case watchOver:
			return
		case watchTick:
			if o.bookmarks && (o.bookmark(false) != nil || flush() != nil) {
				return
			}
		case watchNews:
		}
		_, fresh = o.api.world.look(q.Context(), q.kind)
	}
}

const (
	watchOver = iota
	watchTick
	watchNews
)

// wait waits for the end, the time for a bookmark, or news.
func wait(q *request, end, tick <-chan time.Time, fresh news) int {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(q.Context().Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(end)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(tick)},
	}
	for _, c := range fresh {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	switch chosen, _, _ := reflect.Select(cases); chosen {
	case 0, 1:
		return watchOver
	case 2:
		return watchTick
	}
	return watchNews
}

// change tells of one change as it is for the client: what is not selected any more is gone for it.
func (o *watcher) change(c change) (sent bool, err error) {
	uid := c.object.GetUID()
	switch had := o.has[uid]; {
	case c.what == "DELETED":
		delete(o.has, uid)
		if !had && !o.selection.has(c.object) {
			return false, nil
		}
		return true, o.tell("DELETED", c.object)
	case o.selection.has(c.object):
		o.has[uid] = true
		if had {
			return true, o.tell("MODIFIED", c.object)
		}
		return true, o.tell(c.what, c.object)
	case had:
		delete(o.has, uid)
		return true, o.tell("DELETED", c.object)
	}
	return false, nil
}

// tell sends one object, or the row of it.
func (o *watcher) tell(what string, one object) error {
	if !o.table {
		return o.send(what, one)
	}
	t, err := o.selection.kind.table.of([]object{one}, one.GetResourceVersion(), !o.headed, o.include, o.api.now())
	if err != nil {
		return err
	}
	o.headed = true
	return o.send(what, t)
}

// bookmark tells how far the client is; last tells that it has been sent all there was.
func (o *watcher) bookmark(last bool) error {
	b := o.selection.kind.blank()
	b.GetObjectKind().SetGroupVersionKind(kindOf(o.selection.kind))
	b.SetResourceVersion(strconv.FormatUint(o.version, 10))
	if last {
		b.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	if !o.table {
		return o.send("BOOKMARK", b)
	}
	t, err := o.selection.kind.table.of(nil, b.GetResourceVersion(), false, o.include, o.api.now())
	if err != nil {
		return err
	}
	return o.send("BOOKMARK", t)
}

func statusOf(err *apierrors.StatusError) metav1.Status {
	s := err.ErrStatus
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return s
}
