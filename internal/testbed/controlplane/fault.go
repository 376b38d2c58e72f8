package controlplane

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Fault is what a [Proxy] does to the requests that it matches. What it matches is said by the first four fields; an
// empty one matches everything.
type Fault struct {
	Method string // such as PATCH
	Path   string // a regular expression for the path without query, such as "/pods/[^/]+/status$"
	User   string // by certificate, such as system:node:NAME
	Kind   Kind   // of request

	// Times is how many requests it happens to; the rest pass. 0: to all, until it is removed.
	Times int

	// Delay holds the request back before anything else happens to it.
	Delay time.Duration
	// Status answers instead of the API server, such as 429, 500, 503, or 410: a list or watch from a version too old.
	Status int
	// RetryAfter is sent along with Status, in whole seconds.
	RetryAfter time.Duration
	// Expire lets a watch begin and at once tells that its resource version is too old, as the API server mostly does: an
	// ERROR event with code 410. Lists are answered with status 410. Requests that name no resource version pass: they cannot
	// be too old.
	Expire bool
	// Hang gives no answer until the client gives up or the fault is removed; then the request passes.
	Hang bool
	// Cut breaks the connection instead of an answer. Over HTTP/2 the stream alone is broken.
	Cut bool
	// Lose lets the request through and then cuts: it was done, but the client does not know.
	Lose bool
}

// Kind is a kind of request.
type Kind int

// The kinds of requests.
const (
	Any     Kind = iota
	Watches      // GET with watch=true
	Lists        // GET of a collection, without watch
	Writes       // POST, PUT, PATCH, DELETE
	Reads        // GET, HEAD; watches included
)

// fault is one that was injected.
type fault struct {
	Fault
	path    *regexp.Regexp
	happens int
}

// Inject makes a fault happen from now on, to requests that come later. Of several that match a request only the first
// happens. remove ends it; it may be called twice.
func (x *Proxy) Inject(f Fault) (remove func()) {
	entry := &fault{Fault: f, path: regexp.MustCompile(f.Path)}
	x.mu.Lock()
	x.faults = append(x.faults, entry)
	x.mu.Unlock()
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.faults = slices.DeleteFunc(x.faults, func(f *fault) bool { return f == entry })
		close(x.changed)
		x.changed = make(chan struct{})
	}
}

// Heal removes all faults.
func (x *Proxy) Heal() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = nil
	close(x.changed)
	x.changed = make(chan struct{})
}

// happening finds the fault for a request and counts it.
func (x *Proxy) happening(r *http.Request, user string) *fault {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.faults {
		if f.matches(r, user) && (f.Times == 0 || f.happens < f.Times) {
			f.happens++
			return f
		}
	}
	return nil
}

func (f *fault) matches(r *http.Request, user string) bool {
	return (f.Method == "" || f.Method == r.Method) && (f.User == "" || f.User == user) && f.path.MatchString(r.URL.Path) && f.Kind.has(r)
}

func (k Kind) has(r *http.Request) bool {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch k {
	case Watches:
		return isWatch(r)
	case Lists:
		return read && !isWatch(r) && isCollection(r.URL.Path)
	case Writes:
		return !read
	case Reads:
		return read
	}
	return true
}

// isCollection tells /api/v1/pods and /apis/G/V/namespaces/N/pods from single objects and subresources.
func isCollection(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch parts[0] {
	case "api":
		parts = parts[min(2, len(parts)):]
	case "apis":
		parts = parts[min(3, len(parts)):]
	default:
		return false
	}
	return len(parts) == 1 || len(parts) == 3 && parts[0] == "namespaces"
}

// fromNow tells whether a request asks for what there is now, or for anything there was.
func fromNow(r *http.Request) bool {
	version := r.URL.Query().Get("resourceVersion")
	return version == "" || version == "0"
}

// stays is true as long as the fault is not removed; changed is closed when that may have changed.
func (x *Proxy) stays(f *fault) (stays bool, changed <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Contains(x.faults, f), x.changed
}

// meddle does what a fault says, or lets the request pass.
func (x *Proxy) meddle(w http.ResponseWriter, r *http.Request, user string) {
	f := x.happening(r, user)
	if f == nil {
		x.pass(w, r, user)
		return
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case f.Hang && !x.hang(r, f):
		return
	case f.Cut:
		abort()
	case f.Lose:
		x.pass(&nowhere{header: http.Header{}}, r, user)
		abort()
	case f.Expire && fromNow(r):
		x.pass(w, r, user)
	case f.Expire && isWatch(r):
		writeExpired(w)
	case f.Expire:
		writeStatus(w, http.StatusGone, string(metav1.StatusReasonExpired), tooOld, 0)
	case f.Status != 0:
		writeStatus(w, f.Status, reasons[f.Status], fmt.Sprintf("the test said so: %s", http.StatusText(f.Status)), f.RetryAfter)
	default:
		x.pass(w, r, user)
	}
}

// hang returns true when the fault is removed, false when the client gave up.
func (x *Proxy) hang(r *http.Request, f *fault) bool {
	for {
		stays, changed := x.stays(f)
		if !stays {
			return true
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return false
		}
	}
}

const tooOld = "The resourceVersion for the provided watch is too old."

// reasons are those the API server gives with a status.
var reasons = map[int]string{
	http.StatusUnauthorized: string(metav1.StatusReasonUnauthorized), http.StatusForbidden: string(metav1.StatusReasonForbidden),
	http.StatusNotFound: string(metav1.StatusReasonNotFound), http.StatusConflict: string(metav1.StatusReasonConflict),
	http.StatusGone: string(metav1.StatusReasonExpired), http.StatusTooManyRequests: string(metav1.StatusReasonTooManyRequests),
	http.StatusInternalServerError: string(metav1.StatusReasonInternalError), http.StatusServiceUnavailable: string(metav1.StatusReasonServiceUnavailable),
	http.StatusGatewayTimeout: string(metav1.StatusReasonTimeout),
}

func statusOf(code int, reason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: metav1.StatusReason(reason), Message: message,
	}
}

// writeStatus answers with an error as the API server writes it. It is always JSON, which clients of either encoding read.
func writeStatus(w http.ResponseWriter, code int, reason, message string, retryAfter time.Duration) {
	status := statusOf(code, reason, message)
	if retryAfter > 0 {
		seconds := int(retryAfter.Seconds())
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(seconds)}
	}
	send(w, code, status)
}

// writeExpired begins a watch and ends it with its only event.
func writeExpired(w http.ResponseWriter) {
	send(w, http.StatusOK, map[string]any{
		"type": "ERROR", "object": statusOf(http.StatusGone, string(metav1.StatusReasonExpired), tooOld),
	})
}

func send(w http.ResponseWriter, code int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(what) // the client may be gone
}

// nowhere is where an answer goes that is lost.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header            { return n.header }
func (n *nowhere) Write(data []byte) (int, error) { return len(data), nil }
func (n *nowhere) WriteHeader(int)                {}
