package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecodeJSON(t *testing.T) {
	good := `{"apiVersion": "sandboxer/v1", "kind": "Sandbox", "metadata": {"name": "web"},
	"spec": {"containers": [{"name": "a", "bundle": "/b", "args": ["\u00e9\/\t\ud83d\ude00\ud83d\u0041\\/"]}]}}`
	docs := Decode("w.json", []byte(good))
	if len(docs) != 1 || docs[0].Sandbox == nil {
		t.Fatalf("got %+v", docs)
	}
	if got := docs[0].Sandbox.Spec.Containers[0].Args[0]; got != "é/\t😀\ufffdA\\/" {
		t.Errorf("args[0] = %q", got)
	}
	if got, want := lines(t, "w.json", "{\n\"a\": 1,\n}"), `w.json:3: not valid JSON: invalid character '}' looking for beginning of object key string`; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Decode("w.json", []byte(" \n")); got != nil {
		t.Errorf("an empty file gives %v", got)
	}
}

func TestDecodeManyDocuments(t *testing.T) {
	data := "# a comment\n%YAML 1.1\n---\n" + one + "---\n---\n# nothing\n--- # and\n" + strings.Replace(one, "web", "db", 1) + "...\n# end\n"
	docs := Decode("w.yaml", []byte(data))
	if len(docs) != 2 || docs[0].Sandbox == nil || docs[1].Sandbox == nil {
		t.Fatalf("got %+v", docs)
	}
	if docs[0].Name != "web" || docs[0].Line != 4 || docs[1].Name != "db" || docs[1].Line != 16 {
		t.Errorf("got %s at %d, %s at %d", docs[0].Name, docs[0].Line, docs[1].Name, docs[1].Line)
	}
	for _, empty := range []string{"", "\n\n", "# only\n", "---\n", "---\n# x\n---\n...\n", "null\n"} {
		if got := Decode("w.yaml", []byte(empty)); len(got) != 0 {
			t.Errorf("%q gives %+v", empty, got)
		}
	}
}

func TestDecodeNamesTheBroken(t *testing.T) {
	for data, want := range map[string]string{
		"metadata:\n  name: web\n  x: [\n":               "web",
		"metadata:\n  # c\n  name: \"web\"\n  x: [\n":    "web",
		"metadata: {name: web, x: [}\n":                  "web",
		"spec: {name: web, x: [}\n":                      "",
		"metadata: {name: web}\nkind: Pod\n":             "web",
		"metadata: {name: web}\na: &a [*a]\n":            "web",
		"metadata: {name: [web]}\na: x\n":                "",
		strings.Replace(one, "name: app", "nam: app", 1): "web",
	} {
		docs := Decode("w.yaml", []byte(data))
		if len(docs) != 1 || docs[0].Sandbox != nil || docs[0].Name != want || docs[0].Problems[0].Name != want {
			t.Errorf("%q gives %+v, want the name %q", data, docs, want)
		}
	}
}

func TestDecodeDefaults(t *testing.T) {
	docs := Decode("w.yaml", []byte(one))
	if len(docs) != 1 || docs[0].Sandbox == nil {
		t.Fatalf("got %+v", docs)
	}
	got, err := json.Marshal(docs[0].Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"web","source":"w.yaml","spec":{"state":"Running","runtime":"gvisor","hostname":"web","restartPolicy":"Always",` +
		`"restartBackoff":{"initial":"1s","max":"5m0s","resetAfter":"10m0s"},"terminationGracePeriodSeconds":30,"network":{"mode":"none"},` +
		`"containers":[{"name":"app","rootfs":{"path":"/srv/root"},"command":["/bin/app"],"restartPolicy":"Always","lifecycle":{"stopSignal":"SIGTERM"}}]}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDecodeCanonicalForms(t *testing.T) {
	data := head + `  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 0
  restartBackoff: {initial: 10m}
  dependsOn: []
  initContainers: []
  network: {ports: []}
  volumes:
  - {name: conf, files: {a: "x\0\x7f", b: ""}}
  - {name: data, hostPath: {path: //srv/data/, type: Directory, sockets: false}}
  containers:
  - &first
    name: a
    rootfs: {path: /}
    command: [/x, 2001-01-01, "no", yes]
    restartPolicy: Never
    terminal: false
    hooks: {prestart: []}
    oomScoreAdj: 0
    resources: {limits: {cpu: 0.5, memory: 4194304}}
    env: [{name: A, value: no}, {name: T, valueFrom: {file: /etc//t}}]
    lifecycle: {stopSignal: int}
    securityContext: {capabilities: {add: [net_admin], drop: [all]}}
    volumeMounts: [{name: conf, mountPath: /conf}, {name: data, mountPath: /a/../data/}, {name: data, mountPath: /dev/shm}]
  - <<: *first
    name: b
    restartPolicy:
`
	docs := Decode("w.yaml", []byte(data))
	if len(docs) != 1 || docs[0].Sandbox == nil {
		t.Fatalf("got %+v", docs)
	}
	sp := docs[0].Sandbox.Spec
	a, b := sp.Containers[0], sp.Containers[1]
	for what, ok := range map[string]bool{
		"grace 0 stays":                 *sp.TerminationGracePeriodSeconds == 0,
		"max grows with initial":        sp.RestartBackoff.Max.D() == 10*time.Minute,
		"host path is cleaned":          sp.Volumes[1].HostPath.Path == "/srv/data",
		"content is kept":               sp.Volumes[0].Files["a"] == "x\x00\x7f",
		"words stay words":              slices.Equal(a.Command, []string{"/x", "2001-01-01", "no", "yes"}) && a.Env[0].Value == "no",
		"score 0 is set":                a.OOMScoreAdj != nil && *a.OOMScoreAdj == 0,
		"cpu":                           a.Resources.Limits.CPU.String() == "500m",
		"value's file is cleaned":       a.Env[1].ValueFrom.File == "/etc/t",
		"signal":                        a.Lifecycle.StopSignal == "SIGINT",
		"capabilities":                  a.SecurityContext.Capabilities.Add[0] == "NET_ADMIN" && a.SecurityContext.Capabilities.Drop[0] == "ALL",
		"files are read-only":           a.VolumeMounts[0].ReadOnly && !a.VolumeMounts[1].ReadOnly,
		"mount path is cleaned":         a.VolumeMounts[1].MountPath == "/data",
		"own policy":                    a.RestartPolicy == Never,
		"null in a merge unsets":        b.RestartPolicy == OnFailure,
		"merged":                        b.Name == "b" && b.Rootfs.Path == "/" && len(b.VolumeMounts) == 3,
		"hash is of the canonical form": a.Hash() != b.Hash(),
	} {
		if !ok {
			t.Errorf("wrong: %s", what)
		}
	}
}

func TestSignals(t *testing.T) {
	for in, want := range map[string]string{
		"SIGTERM": "SIGTERM", "term": "SIGTERM", "15": "SIGTERM", "SigQuit": "SIGQUIT", "9": "SIGKILL", "KILL": "SIGKILL",
		"34": "SIGRTMIN", "RTMIN+3": "SIGRTMIN+3", "37": "SIGRTMIN+3", "SIGRTMAX": "SIGRTMIN+30", "rtmax-30": "SIGRTMIN", "SIGSTOP": "SIGSTOP",
		"0": "", "65": "", "32": "", "-1": "", "": "", "SIG": "", "RTMIN+31": "", "RTMIN-1": "", "RTMAX+1": "", "RTMAX-31": "", "RTMIN+": "", "RTMIN++1": "",
	} {
		got, ok := canonicalSignal(in)
		if got != want || ok != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", in, got, ok, want)
		}
		if !ok {
			continue
		}
		n, err := SignalNumber(in)
		again, err2 := SignalNumber(got)
		if err != nil || err2 != nil || n != again {
			t.Errorf("%q is %v, its canonical form %q is %v (%v, %v)", in, n, got, again, err, err2)
		}
	}
}

// Each example runs as it stands.
func TestExampleManifests(t *testing.T) {
	s := ReadDir([]string{"../examples/manifests"}, nil)
	if len(s.Problems) > 0 || len(s.Sandboxes) == 0 {
		t.Errorf("%d sandboxes, problems: %v", len(s.Sandboxes), s.Problems)
	}
}

// A file made to keep the reader busy does not: everything is bounded, and
// nothing costs the square of its size.
func TestDecodeHostileFiles(t *testing.T) {
	volumes, mounts := "  volumes:\n", "    volumeMounts:\n"
	for i := range 5000 {
		volumes += fmt.Sprintf("  - {name: v%d, emptyDir: {}}\n", i)
		mounts += fmt.Sprintf("    - {name: w%d, mountPath: /%d}\n", i, i)
	}
	for name, data := range map[string]string{
		"containers that are none": head + "  containers:\n" + strings.Repeat("  - 1\n", 15_000),
		"unknown fields":           strings.TrimSuffix(one, "\n") + strings.Repeat("\n    x: 1", 20_000),
		"mounts of no volume":      head + volumes + one[len(head):] + mounts,
		"documents":                strings.Repeat("---\na\n", 10_000),
		"brackets":                 strings.Repeat("[", MaxFileSize),
		"anchors":                  strings.Repeat("- &a x\n- *a\n", 10_000),
	} {
		start := time.Now()
		docs := Decode("w.yaml", []byte(data))
		if took := time.Since(start); took > 20*time.Second { // ten times what the race detector needs
			t.Errorf("%s: took %v", name, took)
		}
		for _, d := range docs {
			if d.Sandbox != nil || len(d.Problems) > maxProblems+1 {
				t.Errorf("%s: sandbox %v, %d problems", name, d.Sandbox, len(d.Problems))
			}
		}
	}
}
