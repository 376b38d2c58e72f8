package controlplane

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/client-go/kubernetes/scheme"
)

// SetClock makes the API server's clock differ from everybody else's, as clients of the proxy see it: the Date of answers,
// when objects were made, until when those that are deleted have time, and when tokens expire. A negative offset is a clock
// that went back. What clients themselves wrote into objects stays. It holds for answers to come, events of watches under
// way too.
func (x *Proxy) SetClock(offset time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock = offset
}

func (x *Proxy) offset() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.clock
}

// sendBack gives an object that a client puts the times that the API server knows it by: it lets nobody change them.
func (x *Proxy) sendBack(r *http.Request) error {
	offset := x.offset()
	if offset == 0 || r.Method != http.MethodPut {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	body = shift(body, r.Header.Get("Content-Type"), -offset)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// setTimes changes the times in an answer. Watches are always read here: the clock may be set while they run.
func (x *Proxy) setTimes(resp *http.Response) error {
	offset := x.offset()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		resp.Header.Set("Date", date.Add(offset).UTC().Format(http.TimeFormat))
	}
	if resp.StatusCode/100 != 2 || resp.Header.Get("Content-Encoding") != "" {
		return nil
	}
	if isWatch(resp.Request) {
		return x.setTimesOfEvents(resp)
	}
	if offset == 0 {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	body = shift(body, resp.Header.Get("Content-Type"), offset)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// setTimesOfEvents passes a watch on event by event.
func (x *Proxy) setTimesOfEvents(resp *http.Response) error {
	info, ok := serializer(resp.Header.Get("Content-Type"))
	if !ok || info.StreamSerializer == nil {
		return nil
	}
	events := streaming.NewDecoder(info.StreamSerializer.Framer.NewFrameReader(resp.Body), info.StreamSerializer)
	r, w := io.Pipe()
	to := streaming.NewEncoder(info.StreamSerializer.Framer.NewFrameWriter(w), info.StreamSerializer)
	resp.Body = r
	go func() {
		defer events.Close() // the API server's answer, too
		for {
			var event metav1.WatchEvent
			_, _, err := events.Decode(nil, &event)
			if err == nil {
				event.Object.Raw = shift(event.Object.Raw, info.MediaType, x.offset())
				err = to.Encode(&event)
			}
			if err != nil {
				_ = w.CloseWithError(err) // io.EOF is the end
				return
			}
		}
	}()
	return nil
}

func serializer(contentType string) (runtime.SerializerInfo, bool) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return runtime.SerializerInfo{}, false
	}
	return runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType)
}

// shift moves the API server's own times in an object or a list. What it does not understand it leaves as it is.
func shift(data []byte, contentType string, by time.Duration) []byte {
	info, ok := serializer(contentType)
	if !ok || by == 0 {
		return data
	}
	object, kind, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		return data
	}
	shiftTimes(object, by)
	object.GetObjectKind().SetGroupVersionKind(*kind)
	var out bytes.Buffer
	if err := info.Serializer.Encode(object, &out); err != nil {
		return data
	}
	return out.Bytes()
}

func shiftTimes(object runtime.Object, by time.Duration) {
	if meta.IsListType(object) {
		_ = meta.EachListItem(object, func(item runtime.Object) error { // it cannot fail
			shiftTimes(item, by)
			return nil
		})
		return
	}
	if token, ok := object.(*authenticationv1.TokenRequest); ok {
		shiftTime(&token.Status.ExpirationTimestamp, by)
	}
	about, err := meta.Accessor(object)
	if err != nil {
		return // a Status
	}
	made := about.GetCreationTimestamp()
	shiftTime(&made, by)
	about.SetCreationTimestamp(made)
	if until := about.GetDeletionTimestamp(); until != nil {
		shiftTime(until, by)
		about.SetDeletionTimestamp(until)
	}
}

func shiftTime(t *metav1.Time, by time.Duration) {
	if !t.IsZero() {
		t.Time = t.Add(by)
	}
}
