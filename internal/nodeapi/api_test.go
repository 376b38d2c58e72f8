package nodeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/source"
)

// A pod's life through the API: created with defaults, shown with its status, patched, deleted when the node is done with it.
func TestLifeOfAPod(t *testing.T) {
	b := newBench(t)
	b.live()
	var p v1.Pod
	b.want(201, "POST", podsPath, jsonKind, webPod, &p)
	if p.UID == "" || p.ResourceVersion == "" || p.CreationTimestamp.IsZero() || p.Spec.NodeName != "here" || p.Spec.RestartPolicy != v1.RestartPolicyAlways || p.Generation != 1 {
		t.Errorf("created: %+v", p)
	}
	b.want(409, "POST", podsPath, jsonKind, webPod, nil)
	held, _ := b.store.Content()
	if len(held) != 1 {
		t.Errorf("%d objects are kept, want 1", len(held))
	}
	b.want(200, "PATCH", podsPath+"/web", strategicKind, `{"metadata":{"labels":{"x":"y"}},"spec":{"containers":[{"name":"main","image":"box:2"}]}}`, &p)
	if p.Labels["x"] != "y" || p.Labels["app"] != "web" || p.Spec.Containers[0].Image != "box:2" || p.Generation != 2 {
		t.Errorf("patched: %+v", p.ObjectMeta)
	}
	if text := b.want(422, "PATCH", podsPath+"/web", mergeKind, `{"spec":{"hostNetwork":true}}`, nil); !strings.Contains(text, "pod updates may not change fields other than") {
		t.Error(text)
	}
	b.want(409, "PATCH", podsPath+"/web", mergeKind, `{"metadata":{"resourceVersion":"1","labels":{"x":"z"}}}`, nil)
	b.want(409, "DELETE", podsPath+"/web", jsonKind, `{"preconditions":{"uid":"another"}}`, nil)
	client := b.client()
	w, err := client.Resource(podResource).Namespace("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=web", ResourceVersion: p.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	b.want(200, "DELETE", podsPath+"/web", jsonKind, `{"gracePeriodSeconds":5}`, &p)
	if p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 5 {
		t.Errorf("deleted: %+v", p.ObjectMeta)
	}
	await(t, w, watch.Deleted)
	b.want(404, "GET", podsPath+"/web", "", "", nil)
}

var (
	podResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	mapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

func (b *bench) client() *dynamic.DynamicClient {
	c, err := dynamic.NewForConfig(&rest.Config{Host: b.server.URL, QPS: -1})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// await waits for an event of that type.
func await(t *testing.T, w watch.Interface, what watch.EventType) runtime.Object {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case e, more := <-w.ResultChan():
			if !more {
				t.Fatalf("the watch ended before %s", what)
			}
			if e.Type == what {
				return e.Object
			}
		case <-late:
			t.Fatalf("no event %s", what)
		}
	}
}

// What comes from a manifest is shown, and changed in the manifest.
func TestPodsOfFiles(t *testing.T) {
	b := newBench(t)
	b.static("web")
	b.wanted.Set(source.Snapshot{Ready: true, Objects: map[source.ObjectKey]*source.Object{
		{Kind: "ConfigMap", Namespace: "shop", Name: "settings"}: {Origin: "/etc/pods/settings.yaml", ConfigMap: &v1.ConfigMap{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}, Data: map[string]string{"k": "v"}}},
	}})
	var all v1.PodList
	b.want(200, "GET", "/api/v1/pods?labelSelector=app%3Dweb&fieldSelector=spec.nodeName%3Dhere", "", "", &all)
	if len(all.Items) != 1 || all.Items[0].Status.PodIP != "10.0.0.1" || all.Items[0].Annotations["kubernetes.io/config.source"] != "file" || all.Kind != "PodList" {
		t.Errorf("%+v", all)
	}
	b.want(200, "GET", "/api/v1/pods?labelSelector=app%3Dother", "", "", &all)
	if len(all.Items) != 0 {
		t.Error("a pod that is not selected")
	}
	for _, r := range []struct{ method, kind, body string }{
		{"DELETE", "", ""}, {"PATCH", mergeKind, `{"metadata":{"labels":{"x":"y"}}}`}, {"PUT", jsonKind, webPod},
	} {
		for path, origin := range map[string]string{podsPath + "/web": "/etc/pods/web.yaml", "/api/v1/namespaces/shop/configmaps/settings": "/etc/pods/settings.yaml"} {
			if text := b.want(403, r.method, path, r.kind, r.body, nil); !strings.Contains(text, "it comes from "+origin) {
				t.Error(text)
			}
		}
	}
	if text := b.want(409, "POST", podsPath, jsonKind, webPod, nil); !strings.Contains(text, "/etc/pods/web.yaml") {
		t.Error(text)
	}
	var ns v1.NamespaceList
	b.want(200, "GET", "/api/v1/namespaces", "", "", &ns)
	if len(ns.Items) != 2 || ns.Items[1].Name != "shop" {
		t.Errorf("namespaces: %+v", ns.Items)
	}
}

// Real clients of Go's library: typed ones speak protobuf, and a watch goes on where a list ended.
func TestClients(t *testing.T) {
	b := newBench(t)
	config := &rest.Config{Host: b.server.URL, QPS: -1}
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	maps := typed.CoreV1().ConfigMaps("default")
	m, err := maps.Create(t.Context(), &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"k": "1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.client().Resource(mapResource).Watch(t.Context(), metav1.ListOptions{ResourceVersion: m.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	m.Data["k"] = "2"
	if m, err = maps.Update(t.Context(), m, metav1.UpdateOptions{}); err != nil || m.Data["k"] != "2" {
		t.Fatal(m, err)
	}
	await(t, w, watch.Modified)
	if _, err := typed.CoreV1().Secrets("default").Create(t.Context(), &v1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "s-"}, StringData: map[string]string{"k": "v"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secrets, err := typed.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{FieldSelector: "type=Opaque"})
	if err != nil || len(secrets.Items) != 1 || string(secrets.Items[0].Data["k"]) != "v" || !strings.HasPrefix(secrets.Items[0].Name, "s-") {
		t.Fatal(secrets, err)
	}
	if err := maps.Delete(t.Context(), "m", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, w, watch.Deleted)
	if v, err := typed.Discovery().ServerVersion(); err != nil || v.Minor != "37" {
		t.Error(v, err)
	}
	if _, lists, err := typed.Discovery().ServerGroupsAndResources(); err != nil || len(lists) != 1 {
		t.Error(lists, err)
	}
	if _, err := typed.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("there are Deployments")
	}
}

// A watch begins with what there is if it is asked to, with a bookmark at its end, and tells of what is selected no more.
func TestWatch(t *testing.T) {
	b := newBench(t)
	b.want(201, "POST", mapsPath, jsonKind, strings.Replace(settingsMap, `"name":"settings"`, `"name":"settings","labels":{"a":"b"}`, 1), nil)
	yes := true
	w, err := b.client().Resource(mapResource).Watch(t.Context(), metav1.ListOptions{SendInitialEvents: &yes, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, LabelSelector: "a=b"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	await(t, w, watch.Added)
	mark := await(t, w, watch.Bookmark).(metav1.Object)
	if mark.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" || mark.GetResourceVersion() == "" {
		t.Errorf("bookmark %v", mark)
	}
	b.want(200, "PATCH", mapsPath+"/settings", mergeKind, `{"metadata":{"labels":{"a":"c"}}}`, nil)
	await(t, w, watch.Deleted)
	b.want(200, "PATCH", mapsPath+"/settings", mergeKind, `{"metadata":{"labels":{"a":"b"}}}`, nil)
	await(t, w, watch.Modified)
	b.want(410, "GET", mapsPath+"?watch=true&resourceVersion=5", "", "", nil)
	b.want(410, "GET", mapsPath+"?watch=1&resourceVersion=99999999999999999", "", "", nil)
	o := &source.Object{ConfigMap: &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "m"}}}
	for range mostGone + 5 { // more goes than is remembered
		for _, there := range []map[source.ObjectKey]*source.Object{{o.Key(): o}, nil} {
			b.wanted.Set(source.Snapshot{Ready: true, Objects: there})
			b.api.world.look(t.Context(), b.api.kind(configMaps))
		}
	}
	b.want(410, "GET", mapsPath+"?watch=1&resourceVersion="+mark.GetResourceVersion(), "", "", nil)
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	at := time.Now()
	b.notes.Add(note.Note{At: at, Reason: "Started", Message: "Container started", About: note.About{Kind: "Pod", Namespace: "default", Name: "web", UID: "u", FieldPath: "spec.containers{main}"}})
	b.notes.Add(note.Note{At: at, Reason: "FailedValidation", Level: note.Warning, Message: "is wrong", About: note.About{Kind: "Manifest", Name: "/etc/pods/Über x.yaml"}})
	var all v1.EventList
	b.want(200, "GET", "/api/v1/events", "", "", &all)
	if len(all.Items) != 2 {
		t.Fatalf("%+v", all.Items)
	}
	w, err := b.client().Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Watch(t.Context(), metav1.ListOptions{
		ResourceVersion: all.ResourceVersion, FieldSelector: "involvedObject.name=web,involvedObject.uid=u,involvedObject.namespace=default"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	b.notes.Add(note.Note{At: at.Add(time.Second), Reason: "Started", Message: "Container started", About: note.About{Kind: "Pod", Namespace: "default", Name: "web", UID: "u", FieldPath: "spec.containers{main}"}})
	again := await(t, w, watch.Modified)
	text, err := runtime.DefaultUnstructuredConverter.ToUnstructured(again)
	if err != nil || text["count"] != int64(2) {
		t.Errorf("%v: %v", text["count"], err)
	}
	b.want(405, "POST", "/api/v1/namespaces/default/events", jsonKind, "{}", nil)
}

func TestTables(t *testing.T) {
	b := newBench(t)
	b.static("web")
	b.want(201, "POST", mapsPath, jsonKind, settingsMap, nil)
	for path, want := range map[string]string{
		"/api/v1/pods": "web 1/1 Running 0", "/api/v1/nodes": "here Ready <none>", mapsPath: "settings 1", podsPath + "/web": "web 1/1 Running 0", "/api/v1/namespaces": "default Active",
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
		answer, err := b.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var table metav1.Table
		err = errors.Join(json.NewDecoder(answer.Body).Decode(&table), answer.Body.Close())
		if err != nil || table.Kind != "Table" || len(table.Rows) != 1 || !strings.HasPrefix(strings.Trim(fmt.Sprint(table.Rows[0].Cells), "[]"), want) ||
			len(table.Rows[0].Cells) != len(table.ColumnDefinitions) || !strings.Contains(string(table.Rows[0].Object.Raw), "PartialObjectMetadata") {
			t.Errorf("%s: %v: %+v", path, err, table)
		}
	}
}

// The words of kubectl get for pods on all kinds of bad days.
func TestWordOfAPod(t *testing.T) {
	waiting := func(reason string) v1.ContainerState {
		return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}
	}
	ended := func(code int32, reason string) v1.ContainerState {
		return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
	}
	now := metav1.Now()
	for want, p := range map[string]*v1.Pod{
		"Pending":           {Status: v1.PodStatus{Phase: v1.PodPending}},
		"Evicted":           {Status: v1.PodStatus{Phase: v1.PodFailed, Reason: "Evicted"}},
		"CrashLoopBackOff":  {Status: v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{State: waiting("CrashLoopBackOff")}}}},
		"Completed":         {Status: v1.PodStatus{Phase: v1.PodSucceeded, ContainerStatuses: []v1.ContainerStatus{{State: ended(0, "Completed")}}}},
		"ExitCode:3":        {Status: v1.PodStatus{Phase: v1.PodFailed, ContainerStatuses: []v1.ContainerStatus{{State: ended(3, "")}}}},
		"Init:0/1":          {Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "i"}}}, Status: v1.PodStatus{Phase: v1.PodPending, InitContainerStatuses: []v1.ContainerStatus{{Name: "i"}}}},
		"Init:ErrImagePull": {Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "i"}}}, Status: v1.PodStatus{Phase: v1.PodPending, InitContainerStatuses: []v1.ContainerStatus{{Name: "i", State: waiting("ErrImagePull")}}}},
		"Init:Error":        {Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "i"}}}, Status: v1.PodStatus{Phase: v1.PodPending, InitContainerStatuses: []v1.ContainerStatus{{Name: "i", State: ended(1, "Error")}}}},
		"Terminating":       {ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: v1.PodStatus{Phase: v1.PodRunning}},
		"NotReady":          {Status: v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{State: ended(0, "Completed")}, {Ready: true, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}}},
	} {
		if got := word(p); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Logs and streams go where a kubelet has them, and what it refuses comes back as a Status.
func TestStreamsAreTranslated(t *testing.T) {
	b := newBench(t)
	b.static("web")
	for path, want := range map[string]string{
		"/log?tailLines=3&follow=true&container=main": "/containerLogs/default/web/main?follow=true&tailLines=3",
		"/log": "/containerLogs/default/web/main",
		"/exec?command=a&command=b&stdin=true&stdout=true&tty=false": "/exec/default/web/main?command=a&command=b&input=1&output=1",
		"/attach?stderr=true&container=main":                         "/attach/default/web/main?error=1",
		"/portforward?ports=80":                                      "/portForward/default/web?port=80",
	} {
		if text := b.want(404, "GET", podsPath+"/web"+path, "", "", nil); !strings.Contains(text, `"kind":"Status"`) || !strings.Contains(text, "no streams here") {
			t.Error(text)
		}
		if got := <-b.passed; got != want {
			t.Errorf("%s became %s, want %s", path, got, want)
		}
	}
	b.want(400, "GET", podsPath+"/web/log?container=other", "", "", nil)
	b.want(404, "GET", podsPath+"/nobody/log", "", "", nil)
	b.want(404, "GET", podsPath+"/web/binding", "", "", nil)
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	b := newBench(t)
	b.want(201, "POST", mapsPath, jsonKind, settingsMap, nil)
	big := strings.Repeat("x", mostBody+1)
	for _, c := range []struct {
		code                     int
		method, path, kind, body string
		says                     string
	}{
		{400, "POST", podsPath, jsonKind, `{"kind":"Pod"`, "JSON"},
		{400, "POST", podsPath, jsonKind, settingsMap, "want a Pod"},
		{400, "POST", podsPath, jsonKind, strings.Replace(webPod, `"image"`, `"imagee"`, 1), "unknown field"},
		{400, "POST", podsPath, jsonKind, strings.Replace(webPod, `"name":"web"`, `"name":"web","namespace":"shop"`, 1), "does not match the namespace"},
		{422, "POST", podsPath, jsonKind, strings.Replace(webPod, `"name":"web"`, `"name":"Web"`, 1), "RFC 1123"},
		{422, "POST", podsPath, jsonKind, strings.Replace(webPod, `"spec":{`, `"spec":{"nodeName":"there",`, 1), "the only node here is here"},
		{400, "POST", podsPath, jsonKind, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"}}`, "write the pod of its template"},
		{415, "POST", podsPath, "text/plain", webPod, "application/json"},
		{400, "POST", podsPath, "application/vnd.kubernetes.protobuf", webPod, "protobuf"},
		{413, "POST", podsPath, jsonKind, big, "limit"},
		{413, "PATCH", mapsPath + "/settings", mergeKind, big, "limit"},
		{415, "PATCH", mapsPath + "/settings", "application/apply-patch+yaml", settingsMap, "server-side apply"},
		{400, "PATCH", mapsPath + "/settings", mergeKind, "{", "patch"},
		{400, "PATCH", mapsPath + "/settings", "application/json-patch+json", `[{"op":"copy","from":"/data","path":"/data/a"},{"op":"copy","from":"/data","path":"/data/b"}]`, "copies"},
		{400, "POST", podsPath + "?dryRun=Some", jsonKind, webPod, "dryRun"},
		{400, "GET", "/api/v1/pods?labelSelector=%21%21", "", "", "labelSelector"},
		{400, "GET", "/api/v1/pods?fieldSelector=spec.colour%3Dred", "", "", "spec.colour"},
		{400, "GET", "/api/v1/pods?watch=1&resourceVersion=x", "", "", "resourceVersion"},
		{400, "DELETE", mapsPath + "/settings", jsonKind, `{"gracePeriodSeconds":-1}`, "gracePeriodSeconds"},
		{405, "DELETE", mapsPath, "", "", "by name"},
		{403, "PATCH", "/api/v1/nodes/here", mergeKind, "{}", "--node-labels"},
		{404, "GET", "/api/v1/widgets", "", "", "has no"},
		{404, "GET", "/apis/apps/v1/deployments", "", "", "has no"},
		{404, "GET", mapsPath + "/nothing", "", "", `configmaps \"nothing\" not found`},
	} {
		text := b.want(c.code, c.method, c.path, c.kind, c.body, nil)
		if !strings.Contains(text, c.says) || !strings.Contains(text, `"kind":"Status"`) {
			t.Errorf("%s %s: %s", c.method, c.path, text)
		}
	}
	var m v1.ConfigMap
	b.want(201, "POST", mapsPath+"?dryRun=All", jsonKind, strings.Replace(settingsMap, "settings", "dry", 1), &m)
	b.want(404, "GET", mapsPath+"/dry", "", "", nil)
	b.want(200, "PATCH", mapsPath+"/settings", mergeKind, `{"immutable":true}`, &m)
	b.want(422, "PATCH", mapsPath+"/settings", mergeKind, `{"data":{"k":"2"}}`, nil)
}

// A namespace is there while something is in it; making one is no more than that; deleting one deletes what was given in it.
func TestNamespaces(t *testing.T) {
	b := newBench(t)
	b.live()
	const shop = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`
	b.want(201, "POST", "/api/v1/namespaces", jsonKind, shop, nil)
	b.want(409, "POST", "/api/v1/namespaces", jsonKind, shop, nil)
	b.want(200, "PATCH", "/api/v1/namespaces/shop", mergeKind, `{"metadata":{"annotations":{"a":"b"}}}`, nil)
	b.want(201, "POST", "/api/v1/namespaces/shop/pods", jsonKind, webPod, nil)
	b.want(201, "POST", "/api/v1/namespaces/shop/configmaps", jsonKind, settingsMap, nil)
	w, err := b.client().Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=shop"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	b.want(200, "DELETE", "/api/v1/namespaces/shop", "", "", nil)
	await(t, w, watch.Deleted)
	if held, _ := b.store.Content(); len(held) != 0 {
		t.Errorf("left: %v", held)
	}
	b.want(422, "POST", "/api/v1/namespaces", jsonKind, strings.Replace(shop, "shop", "Shop!", 1), nil)
}

// What was deleted in an earlier life, or lost its name to a manifest, goes too.
func TestDeletedPodsWithoutWorker(t *testing.T) {
	b := newBench(t)
	b.wanted.Set(source.Snapshot{}) // nobody has spoken
	at := metav1.Now()
	p := &v1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: "default", UID: "u", DeletionTimestamp: &at}}
	if err := b.store.Put(p); err != nil {
		t.Fatal(err)
	}
	if gone(p, nil, b.wanted.Value()) {
		t.Error("it is forgotten before the sources have spoken")
	}
	if !gone(p, nil, source.Snapshot{Ready: true}) {
		t.Error("it is not forgotten although nobody wants it")
	}
	b.live()
	for {
		held, newer := b.store.Content()
		if len(held) == 0 {
			break
		}
		select {
		case <-newer:
		case <-time.After(time.Minute):
			t.Fatal("it stays for ever")
		}
	}
}

// FuzzRequests: whatever is sent, the answer is one that a client understands, and nothing breaks.
func FuzzRequests(f *testing.F) {
	proto, err := runtime.Encode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), &v1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "x"}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []struct{ method, path, kind, body string }{
		{"GET", "/api/v1/pods?fieldSelector=a%3Db&labelSelector=x", "", ""}, {"POST", podsPath, jsonKind, webPod}, {"POST", mapsPath, "application/vnd.kubernetes.protobuf", string(proto)},
		{"PATCH", podsPath + "/web", strategicKind, `{"spec":{"$patch":"replace","containers":[{"$patch":"delete","name":"main"}]}}`},
		{"PATCH", podsPath + "/web", "application/json-patch+json", `[{"op":"test","path":"/spec/containers/0/image","value":"x"}]`},
		{"PATCH", podsPath + "/web/ephemeralcontainers", strategicKind, `{"spec":{"ephemeralContainers":[{"name":"d","image":"b","targetContainerName":"main"}]}}`},
		{"DELETE", podsPath + "/web", jsonKind, `{"gracePeriodSeconds":0,"preconditions":{"uid":"x"}}`}, {"PUT", "/api/v1/namespaces/shop", jsonKind, `{"kind":"Namespace"}`},
		{"GET", "/api/v1/namespaces/..//pods/%2e%2e/log", "", ""}, {"GET", "/openapi/v3/api/v1", "", ""},
	} {
		f.Add(s.method, s.path, s.kind, []byte(s.body))
	}
	f.Fuzz(fuzzOne)
}

// The UID of what has none is one, and stays.
func TestUIDs(t *testing.T) {
	a, b := uidOf("x", "y"), uidOf("xy")
	if a == b || a != uidOf("x", "y") || len(a) != 36 || types.UID("") == a {
		t.Error(a, b)
	}
}
