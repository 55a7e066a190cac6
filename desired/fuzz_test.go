package desired

import (
	"encoding/json"
	"testing"
)

// What Decode accepts, it accepts again as Encode writes it, and reads as the
// same; what it rejects, it says why. Nothing makes it panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(one), false)
	f.Add([]byte(head+"  volumes: [{name: v, files: {a: \"\\x7f\\0\\u2028\\ufeff\"}}, {name: h, hostPath: {path: /a}}, {name: e, emptyDir: {sizeLimit: 1.5Gi}}]"+tail), false)
	f.Add([]byte(one+"    env: [{name: A, valueFrom: {file: /t}}]\n    resources: {limits: {cpu: 100m, memory: 1e9}}\n    oomScoreAdj: -5\n---\n"+one), false)
	f.Add([]byte(one+"    securityContext: {runAsUser: 0, capabilities: {add: [ALL], drop: []}}\n    lifecycle: {stopSignal: RTMIN+3}\n"), false)
	f.Add([]byte(one+"    securityContext: {capabilities: {add: [], drop: []}}\n    env: []\n"), false)
	f.Add([]byte(head+"  dependsOn: [db]\n  initContainers: [{name: i, bundle: /b, lifecycle: {}, resources: {limits: {memory: 4Mi}}}]"+tail), false)
	f.Add([]byte("a: &a {<<: *a}\nb: [*a, *a]\n"), false)
	f.Add([]byte(`{"apiVersion":"sandboxer/v1","kind":"Sandbox","metadata":{"name":"j"},"spec":{"containers":[{"name":"a","bundle":"\/b\ud83d\ude00"}]}}`), true)
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		name := "f.yaml"
		if isJSON {
			name = "f.json"
		}
		for _, d := range Decode(name, data) {
			if (d.Sandbox == nil) != (len(d.Problems) > 0) {
				t.Fatalf("sandbox %v, problems %v: want exactly one", d.Sandbox, d.Problems)
			}
			for _, p := range d.Problems {
				if p.File != name || p.Line < 1 || p.Message == "" {
					t.Fatalf("a problem without a place: %+v", p)
				}
			}
			if d.Sandbox == nil {
				continue
			}
			text, err := Encode(d.Sandbox)
			if err != nil {
				t.Fatal(err)
			}
			first, _ := json.Marshal(d.Sandbox)
			for _, as := range []string{"f.yaml", "f.json"} {
				again := Decode(as, text)
				if len(again) != 1 || again[0].Sandbox == nil {
					t.Fatalf("%s is not accepted again: %+v", text, again)
				}
				again[0].Sandbox.Source = d.Sandbox.Source
				then, _ := json.Marshal(again[0].Sandbox)
				if string(first) != string(then) {
					t.Fatalf("as %s: first\n%s\nthen\n%s", as, first, then)
				}
			}
		}
	})
}
