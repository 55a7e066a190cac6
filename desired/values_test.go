package desired

import (
	"slices"
	"strings"
	"testing"
)

// An edit is told with its values, old and new, and what may be secret is not.
func TestChangeValues(t *testing.T) {
	const head = "apiVersion: " + APIVersion + "\nkind: Sandbox\nmetadata: {name: web"
	declare := func(text string) *Sandbox {
		t.Helper()
		docs := Decode("w.yaml", []byte(head+text))
		if len(docs) != 1 || docs[0].Sandbox == nil {
			t.Fatalf("%+v", docs)
		}
		return docs[0].Sandbox
	}
	a := declare(`, labels: {tier: back}}
spec:
  hostname: one
  volumes: [{name: f, files: {a: SECRET1}}]
  initContainers: [{name: make, rootfs: {path: /r}, command: [x], args: [y]}]
  containers:
  - {name: app, rootfs: {path: /r}, command: [x], env: [{name: A, value: SECRET2}, {name: B, valueFrom: {file: /b}}], resources: {limits: {memory: 64Mi}}, volumeMounts: [{name: f, mountPath: /f}],
     livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: Authorization, value: SECRET3}]}}}
`)
	b := declare(`, labels: {tier: front, new: x}}
spec:
  hostname: two
  volumes: [{name: f, files: {a: SECRET4, b: SECRET5}}]
  initContainers: [{name: make, rootfs: {path: /r}, command: [x], args: [z], env: [{name: D, value: SECRET6}]}]
  containers:
  - {name: app, rootfs: {path: /r}, command: [x], args: [q], env: [{name: A, value: SECRET7}, {name: B, valueFrom: {file: /c}}, {name: C, value: SECRET8}], resources: {limits: {memory: 128Mi, cpu: 1}}, volumeMounts: [{name: f, mountPath: /f}],
     hooks: {poststop: [{path: /h, env: [E=SECRET9]}]}, livenessProbe: {httpGet: {port: 80, httpHeaders: [{name: Authorization, value: SECRET0}]}}}
`)
	var got []string
	for _, c := range Changes(a, b) {
		for _, v := range c.Values(a, b) {
			got = append(got, strings.TrimSpace(c.Container+" "+v))
		}
	}
	want := []string{
		`labels.new: none → "x"`, `labels.tier: "back" → "front"`,
		`hostname: "one" → "two"`,
		`initContainers[make].args: ["y"] → ["z"]`, `initContainers[make].env: none → [{"name":"D","value":"(not told)"}]`,
		`volumes[f].files.a`, `volumes[f].files.b: none → (not told)`,
		`app livenessProbe.httpGet.httpHeaders[Authorization].value`,
		`app resources.limits.cpu: none → "1"`, `app resources.limits.memory: "64Mi" → "128Mi"`,
		`app args: none → ["q"]`, `app env[A].value`, `app env[B].valueFrom.file: "/b" → "/c"`,
		`app env[C]: none → {"name":"C","value":"(not told)"}`,
		`app hooks: none → {"poststop":[{"env":["(not told)"],"path":"/h","timeout":30}]}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(strings.Join(got, ""), "SECRET") {
		t.Error("a secret is told")
	}
}
