package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

const shop = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOR: red, page.txt: "a page\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {USER: jane, PASSWORD: hush}
---
apiVersion: v1
kind: Service
metadata: {name: shop-front}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: web}]}
`

// shopDeployment is placed by the scheduler, but not on other tests' nodes.
const shopDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: shop, edition: EDITION}}
    spec:
      nodeSelector: {kubernetes.io/hostname: NODE}
      terminationGracePeriodSeconds: 5
      containers:
      - name: main
        image: IMAGE
        imagePullPolicy: IfNotPresent
        PROGRAM
        ports: [{name: web, containerPort: 8080}]
        readinessProbe: {httpGet: {port: web, path: /}, periodSeconds: 1}
        env:
        - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: COLOR}}}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: login, key: PASSWORD}}}
        - {name: GREETING, value: "$(LOGIN_USER) at $(SHOP_FRONT_SERVICE_HOST)"}
        envFrom:
        - {prefix: LOGIN_, secretRef: {name: login}}
        - {prefix: SET_, configMapRef: {name: settings}}
        volumeMounts: [{name: settings, mountPath: /settings}, {name: login, mountPath: /login}]
      volumes:
      - {name: settings, configMap: {name: settings}}
      - {name: login, secret: {secretName: login, defaultMode: 0400, items: [{key: PASSWORD, path: deep/word}]}}
`

// A Deployment with a Service, a ConfigMap and a Secret goes through scheduler and controllers, is rolled to another image, and
// what was before is gone without a trace.
func TestDeploymentRolls(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	edition := func(name, image, program string) string {
		return strings.NewReplacer("EDITION", name, "IMAGE", image, "PROGRAM", program).Replace(shopDeployment)
	}
	m.apply(t, ns, shop)
	address := m.kubectl(t, ns, "get", "service", "shop-front", "-o", "jsonpath={.spec.clusterIP}")
	m.apply(t, ns, edition("first", testbed.Testbox, `args: [env, then, cat, /settings/page.txt, then, cat, /login/deep/word, then, http, ":8080"]`))
	m.kubectl(t, ns, "rollout", "status", "deployment/shop", "--timeout=60s")
	first := m.labelled(t, ns, "edition=first")
	if len(first) != 2 {
		t.Fatalf("%d pods, want 2", len(first))
	}
	for i := range first {
		said := m.known(t, &first[i]).says("main", 0)
		contains(t, "the container", said, "COLOR=red", "SECRET=hush", "LOGIN_USER=jane", "LOGIN_PASSWORD=hush", "SET_COLOR=red", "GREETING=jane at "+address,
			"SHOP_FRONT_SERVICE_HOST="+address, "SHOP_FRONT_SERVICE_PORT=80", "SHOP_FRONT_SERVICE_PORT_HTTP=80", "SHOP_FRONT_PORT=tcp://"+address+":80",
			"SHOP_FRONT_PORT_80_TCP_ADDR="+address, "KUBERNETES_SERVICE_PORT_HTTPS=443", "a page")
		if !strings.Contains(said, "\nhush") {
			t.Errorf("the container has not read the secret from its volume:\n%s", said)
		}
	}
	m.untilEndpoints(t, ns, first)

	m.apply(t, ns, edition("second", testbed.Busybox, `command: [sh, -c, "echo well > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]`))
	m.kubectl(t, ns, "rollout", "status", "deployment/shop", "--timeout=60s")
	second := m.labelled(t, ns, "edition=second")
	m.untilEndpoints(t, ns, second)
	for i := range first {
		m.known(t, &first[i]).untilGone()
	}
	m.kubectl(t, ns, "delete", "deployment", "shop", "--wait=false")
	for i := range second {
		m.known(t, &second[i]).untilGone()
	}
}

// untilEndpoints waits until the service of the shop has just these pods as ready endpoints, and asks each of them.
func (m *member) untilEndpoints(t *testing.T, ns string, pods []v1.Pod) {
	t.Helper()
	var want []string
	for i := range pods {
		p, err := m.known(t, &pods[i]).now()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p.Status.PodIP)
	}
	slices.Sort(want)
	eventually(t, func() error {
		list, err := m.api.DiscoveryV1().EndpointSlices(ns).List(t.Context(), metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=shop-front"})
		if err != nil {
			return err
		}
		var ready []string
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					ready = append(ready, e.Addresses...)
				}
			}
		}
		if slices.Sort(ready); !slices.Equal(ready, want) {
			return fmt.Errorf("endpoints %v are ready, want %v", ready, want)
		}
		return nil
	})
	for _, ip := range want {
		resp, err := http.Get("http://" + ip + ":8080/")
		if err != nil {
			t.Error(err)
			continue
		}
		resp.Body.Close()
		same(t, "the answer of "+ip, resp.StatusCode, 200)
	}
}
