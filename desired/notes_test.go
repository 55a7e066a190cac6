package desired

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is allowed and most likely not meant is told, at its line; what is meant is not.
func TestNotes(t *testing.T) {
	for name, c := range map[string]struct {
		spec string
		want []string
	}{
		"a limit that a sibling keeps from being in force": {`  containers:
  - {name: free, bundle: /b}
  - name: bound
    bundle: /b
    resources:
      limits:
        cpu: 500m
`, []string{`web.yaml:11: spec.containers[1].resources.limits.cpu: is not in force as long as container "free" has no limits.cpu: the CPU of a sandbox is limited as a whole, to the sum of its containers' limits`}},
		"a state that can't come, for the network": {"  state: Suspended\n  network: {mode: host}\n  containers: [{name: a, bundle: /b}]\n",
			[]string{"web.yaml:5: spec.state: can't come: gVisor can't write a checkpoint of a sandbox with the host's network; declare another state, or network.mode: none"}},
		"a state that can't come, for a terminal": {"  state: Suspended\n  containers: [{name: a, bundle: /b, terminal: true}]\n",
			[]string{`web.yaml:5: spec.state: can't come: gVisor can't restore the terminal of container "a"; declare another state, or terminal: false`}},
		"a state that can come": {"  state: Suspended\n  containers: [{name: a, bundle: /b}]\n", nil},
		"all have one": {`  containers:
  - {name: a, bundle: /b, resources: {limits: {cpu: 1}}}
  - {name: b, bundle: /b, resources: {limits: {cpu: 1}}}
`, nil},
		"none has one": {"  containers: [{name: a, bundle: /b}, {name: b, bundle: /b}]\n", nil},
		"several have one that is in vain": {`  containers:
  - {name: a, bundle: /b, resources: {limits: {cpu: 1}}}
  - {name: free, bundle: /b}
  - {name: b, bundle: /b, resources: {limits: {cpu: 1}}}
`, []string{`web.yaml:6: spec.containers[0].resources.limits.cpu: is not in force as long as container "free" has no limits.cpu: the CPU of a sandbox is limited as a whole, to the sum of its containers' limits`,
			`web.yaml:8: spec.containers[2].resources.limits.cpu: is not in force as long as container "free" has no limits.cpu: the CPU of a sandbox is limited as a whole, to the sum of its containers' limits`}},
		"an init container has none": {`  initContainers: [{name: load, bundle: /b}]
  containers:
  - {name: a, bundle: /b, resources: {limits: {cpu: 1}}}
`, []string{`web.yaml:7: spec.containers[0].resources.limits.cpu: is not in force as long as container "load" has no limits.cpu: the CPU of a sandbox is limited as a whole, to the sum of its containers' limits`}},
		"an init container has no memory limit": {`  initContainers:
  - {name: all, bundle: /b, resources: {limits: {memory: 8Mi}}}
  - name: load
    bundle: /b
  containers:
  - {name: a, bundle: /b, resources: {limits: {memory: 16Mi}}}
`, []string{`web.yaml:7: spec.initContainers[1].resources.limits.memory: init container "load" has none, so the sandbox as a whole has no memory limit, though each of spec.containers has one: applications see the host's memory, and what belongs to no container is unbounded; each container is held to its own limit`}},
		"a container has no memory limit either": {`  initContainers: [{name: load, bundle: /b}]
  containers:
  - {name: a, bundle: /b, resources: {limits: {memory: 16Mi, ephemeral-storage: 16Mi}}}
  - {name: b, bundle: /b}
`, nil},
		"an init container has no limit of storage": {`  volumes: [{name: v, emptyDir: {}}]
  initContainers: [{name: load, bundle: /b}]
  containers:
  - {name: a, bundle: /b, resources: {limits: {ephemeral-storage: 16Mi}}}
`, []string{`web.yaml:6: spec.initContainers[0].resources.limits.ephemeral-storage: init container "load" has none, so emptyDirs without sizeLimit are not bounded, though each of spec.containers has a limit`}},
		"and there is nothing that it would bound": {`  volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]
  initContainers: [{name: load, bundle: /b}]
  containers:
  - {name: a, bundle: /b, resources: {limits: {ephemeral-storage: 16Mi}}}
`, nil},
		"what it waits for ends": {`  dependsOn:
  - job
  containers: [{name: a, bundle: /b}]
`, []string{`web.yaml:6: spec.dependsOn[0]: every container of "job" has restartPolicy Never or OnFailure, and when they have ended it is not ready any more: what is to be done first and ends is an init container's work`}},
		"what it waits for stays": {"  dependsOn: [db]\n  containers: [{name: a, bundle: /b}]\n", nil},
	} {
		dir := t.TempDir()
		document := func(name, spec string) string {
			return "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: " + name + "}\nspec:\n" + spec
		}
		for file, text := range map[string]string{
			"web.yaml": document("web", c.spec),
			"more.yaml": document("job", "  restartPolicy: OnFailure\n  containers: [{name: a, bundle: /b}]\n") + "---\n" +
				document("db", "  restartPolicy: Never\n  containers: [{name: a, bundle: /b}, {name: b, bundle: /b, restartPolicy: Always}]\n"),
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		set := ReadDir([]string{dir}, nil)
		if len(set.Problems) > 0 {
			t.Fatalf("%s: %v", name, set.Problems)
		}
		var got []string
		for _, n := range Place(set.Notes()) {
			got = append(got, strings.TrimPrefix(n.String(), dir+"/"))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
}
