package desired

import (
	"slices"
	"strings"
	"testing"
)

// head and tail make a whole document of a few lines of spec; those lines
// begin at line 5.
const (
	head = `apiVersion: sandboxer/v1
kind: Sandbox
metadata: {name: web}
spec:
`
	tail = `
  containers:
  - {name: app, rootfs: {path: /r}, command: [/x]}
`
	// one opens a container at line 5, whose fields begin at line 6.
	one = head + `  containers:
  - name: app
    rootfs: {path: /srv/root}
    command: [/bin/app]
`
)

// lines returns all problems of a file, as a user reads them.
func lines(t *testing.T, file, data string) []string {
	t.Helper()
	var out []string
	for _, d := range Decode(file, []byte(data)) {
		if (d.Sandbox == nil) != (len(d.Problems) > 0) {
			t.Errorf("document at line %d: sandbox %v, problems %v: want exactly one of them", d.Line, d.Sandbox, d.Problems)
		}
		for _, p := range d.Problems {
			out = append(out, p.String())
		}
	}
	return out
}

type rejection struct {
	name, data string
	want       []string
}

func checkRejections(t *testing.T, rows []rejection) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if got := lines(t, "w.yaml", r.data); !slices.Equal(got, r.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(r.want, "\n\t"))
			}
		})
	}
}

func TestDecodeRejectsEnvelope(t *testing.T) {
	checkRejections(t, []rejection{
		{"scalar", "hello\n", []string{`w.yaml:1: a document must be a mapping with apiVersion, kind, metadata and spec, not the string "hello"`}},
		{"list", "# comment\n- a\n", []string{`w.yaml:2: a document must be a mapping with apiVersion, kind, metadata and spec, not a list`}},
		{"nothing of ours", "a: 1\n", []string{
			`w.yaml:1: apiVersion: required: must be "sandboxer/v1"`,
			`w.yaml:1: kind: required: must be "Sandbox"`}},
		{"a Pod", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {foo: 1}\n", []string{
			`w.yaml:1: apiVersion: must be "sandboxer/v1", not the string "v1"`,
			`w.yaml:2: kind: must be "Sandbox", not the string "Pod"`}},
		{"no metadata, no spec", "apiVersion: sandboxer/v1\nkind: Sandbox\n", []string{
			`w.yaml:1: metadata.name: required`,
			`w.yaml:1: spec.containers: required: at least one container`}},
		{"unknown at the top", head + "  containers: [{name: a, bundle: /b}]\nstatus: {}\n", []string{
			`w.yaml:6: status: unknown field`}},
		{"name is a number", strings.Replace(one, "web", "12", 1), []string{
			`w.yaml:3: metadata.name: must be a string, not the integer 12: quote it`}},
		{"name in capitals", strings.Replace(one, "web", "Web", 1), []string{
			`w.yaml:3: metadata.name: "Web" is no DNS label: at most 63 lower-case letters, digits and "-", with a letter or digit at both ends`}},
		{"name too long", strings.Replace(one, "web", strings.Repeat("a", 64), 1), []string{
			`w.yaml:3: metadata.name: "` + strings.Repeat("a", 64) + `" is no DNS label: at most 63 lower-case letters, digits and "-", with a letter or digit at both ends`}},
		{"labels", strings.Replace(one, "{name: web}", `{name: web, labels: {-a: x, a: "b c", Ex.com/a: x, n: 1}}`, 1), []string{
			`w.yaml:3: metadata.labels.-a: "-a" is no label key: at most 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends`,
			`w.yaml:3: metadata.labels.a: "b c" is no label value: at most 63 letters, digits, "-", "_" and ".", with a letter or digit at both ends`,
			`w.yaml:3: metadata.labels.n: must be a string, not the integer 1: quote it`,
			`w.yaml:3: metadata.labels[Ex.com/a]: "Ex.com" is no DNS name before the "/"`}},
		{"label key is a number", strings.Replace(one, "{name: web}", `{name: web, labels: {1: x}}`, 1), []string{
			`w.yaml:3: metadata.labels: a key must be a string, not the integer 1`}},
		{"unknown metadata", strings.Replace(one, "{name: web}", `{name: web, label: {}}`, 1), []string{
			`w.yaml:3: metadata.label: unknown field (did you mean "labels"?)`}},
	})
}

func TestDecodeRejectsSpec(t *testing.T) {
	checkRejections(t, []rejection{
		{"unknown field", head + "  sate: Running" + tail, []string{`w.yaml:5: spec.sate: unknown field (did you mean "state"?)`}},
		{"wrong case", head + "  State: Running" + tail, []string{`w.yaml:5: spec.State: unknown field (did you mean "state"?)`}},
		{"duplicate key", head + "  state: Running\n  state: Paused" + tail, []string{`w.yaml:6: spec.state: duplicate key: it stands on line 5 already`}},
		{"state", head + "  state: Runing" + tail, []string{`w.yaml:5: spec.state: "Runing" is not one of Running, Paused, Stopped, Suspended, Created (did you mean "Running"?)`}},
		{"restoreFrom", head + "  restoreFrom: image" + tail, []string{`w.yaml:5: spec.restoreFrom: "image" is relative: a path of the host starts with "/"`}},
		{"runtime", head + "  runtime: runc" + tail, []string{`w.yaml:5: spec.runtime: "runc" is not supported yet: only "gvisor"`}},
		{"hostname", head + "  hostname: a_b" + tail, []string{`w.yaml:5: spec.hostname: "a_b" is no host name: DNS labels with dots between, at most 64 characters`}},
		{"restartPolicy", head + "  restartPolicy: always" + tail, []string{`w.yaml:5: spec.restartPolicy: "always" is not one of Always, OnFailure, Never (did you mean "Always"?)`}},
		{"backoff of 0", head + "  restartBackoff: {initial: 0s}" + tail, []string{`w.yaml:5: spec.restartBackoff.initial: 0s is out of range: must be more than 0`}},
		{"backoff shrinks", head + "  restartBackoff: {initial: 5s, max: 2s}" + tail, []string{`w.yaml:5: spec.restartBackoff.max: 2s is less than initial, 5s`}},
		{"backoff as number", head + "  restartBackoff: {initial: 5}" + tail, []string{`w.yaml:5: spec.restartBackoff.initial: must be a duration such as "30s" or "1m30s", not the integer 5`}},
		{"backoff as word", head + "  restartBackoff: {resetAfter: soon}" + tail, []string{`w.yaml:5: spec.restartBackoff.resetAfter: "soon" is no duration: write it as "30s" or "1m30s"`}},
		{"grace below 0", head + "  terminationGracePeriodSeconds: -1" + tail, []string{`w.yaml:5: spec.terminationGracePeriodSeconds: -1 is out of range: 0 to 2147483647`}},
		{"grace as text", head + "  terminationGracePeriodSeconds: 30s" + tail, []string{`w.yaml:5: spec.terminationGracePeriodSeconds: must be an integer, not the string "30s"`}},
		{"grace beyond int64", head + "  terminationGracePeriodSeconds: 99999999999999999999" + tail, []string{`w.yaml:5: spec.terminationGracePeriodSeconds: must be an integer, not the number 99999999999999999999`}},
		{"CNI network", head + "  network: {mode: bridge}" + tail, []string{`w.yaml:5: spec.network.mode: the network "bridge" is not supported yet: only none and host`}},
		{"a mode alone", head + "  network: host" + tail, []string{`w.yaml:5: spec.network: must be a mapping of fields, not the string "host": write network: {mode: host}`}},
		{"a Pod's fields", head + "  hostNetwork: true\n  nodeSelector: {a: b}\n  serviceAccountName: x\n  securityContext: {runAsUser: 1}" + tail, []string{
			`w.yaml:5: spec.hostNetwork: is written network: {mode: host} here`,
			`w.yaml:6: spec.nodeSelector: has no place here: a sandbox runs on the host whose daemon reads its manifest`,
			`w.yaml:7: spec.serviceAccountName: has no place here: there is no cluster`,
			`w.yaml:8: spec.securityContext: is each container's own here: write it in spec.containers[]`}},
		{"ports", head + "  network:\n    ports: [{hostPort: 1}]" + tail, []string{`w.yaml:6: spec.network.ports: not supported yet`}},
		{"dependsOn", head + "  dependsOn:\n  - db\n  - DB\n  - db" + tail, []string{
			`w.yaml:7: spec.dependsOn[1]: "DB" is no sandbox's name: at most 63 lower-case letters, digits and "-", with a letter or digit at both ends`,
			`w.yaml:8: spec.dependsOn[2]: "db" is named twice`}},
		{"init container without a root", head + "  initContainers: [{name: i}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0]: no source for its file system: one of rootfs, bundle`}},
		{"init container's name", head + "  initContainers:\n  - {name: app, bundle: /b}\n  - {name: i, bundle: /b}\n  - {name: i, bundle: /b}" + tail, []string{
			`w.yaml:8: spec.initContainers[2].name: "i" is declared twice`,
			`w.yaml:10: spec.containers[0].name: "app" is declared twice`}},
		{"init container that stays", head + "  initContainers: [{name: i, bundle: /b, restartPolicy: Always}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].restartPolicy: an init container that runs on beside the containers is not supported yet; one that ends leaves it out`}},
		{"init container with a policy", head + "  initContainers: [{name: i, bundle: /b, restartPolicy: Never}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].restartPolicy: an init container follows spec.restartPolicy: leave it out`}},
		{"init container with a user log", head + "  initContainers: [{name: i, bundle: /b, userLog: /u}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].userLog: an init container has none: say it of a container, whose file is about all of the sandbox`}},
		{"init container with a life cycle", head + "  initContainers: [{name: i, bundle: /b, lifecycle: {stopSignal: INT}}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].lifecycle: an init container has none: it ends by itself`}},
		{"init container with probes", head + "  initContainers: [{name: i, bundle: /b, startupProbe: {exec: {command: [x]}}, readinessProbe: {tcpSocket: {port: 1}}}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].readinessProbe: an init container has none: it ends by itself`,
			`w.yaml:5: spec.initContainers[0].startupProbe: an init container has none: it ends by itself`}},
		{"init container's mount", head + "  initContainers: [{name: i, bundle: /b, volumeMounts: [{name: v, mountPath: /v}]}]" + tail, []string{
			`w.yaml:5: spec.initContainers[0].volumeMounts[0].name: there is no volume "v"`}},
		{"no containers", head + "  containers: []\n", []string{`w.yaml:5: spec.containers: required: at least one container`}},
		{"containers as mapping", head + "  containers: {name: a}\n", []string{`w.yaml:5: spec.containers: must be a list, not a mapping`}},
		{"a container is null", head + "  containers: [~]\n", []string{`w.yaml:5: spec.containers[0]: must not be null`}},
		{"spec as list", "apiVersion: sandboxer/v1\nkind: Sandbox\nmetadata: {name: web}\nspec: []\n", []string{`w.yaml:4: spec: must be a mapping of fields, not a list`}},
		{"key that is a list", head + "  ? [a]\n  : b" + tail, []string{`w.yaml:5: spec: a field's name must be a plain word, not a list`}},
		{"unknown tag", head + "  state: !x Running" + tail, []string{`w.yaml:5: spec.state: must be a string, not a value with the tag !x: quote it`}},
	})
}

func TestDecodeRejectsVolumes(t *testing.T) {
	vol := func(v string) string { return head + "  volumes:\n  - " + v + tail }
	checkRejections(t, []rejection{
		{"no source", vol("name: v"), []string{`w.yaml:6: spec.volumes[0]: no source: one of hostPath, emptyDir, files`}},
		{"null source", vol("{name: v, emptyDir: }"), []string{`w.yaml:6: spec.volumes[0]: no source: one of hostPath, emptyDir, files`}},
		{"two sources", vol("{name: v, emptyDir: {}, hostPath: {path: /a}}"), []string{`w.yaml:6: spec.volumes[0]: hostPath and emptyDir exclude each other: a volume has one source`}},
		{"no name", vol("emptyDir: {}"), []string{`w.yaml:6: spec.volumes[0].name: required`}},
		{"bad name", vol("{name: a/b, emptyDir: {}}"), []string{`w.yaml:6: spec.volumes[0].name: "a/b" is no DNS label: at most 63 lower-case letters, digits and "-", with a letter or digit at both ends`}},
		{"twice", vol("{name: v, emptyDir: {}}\n  - {name: v, emptyDir: {}}"), []string{`w.yaml:7: spec.volumes[1].name: "v" is declared twice`}},
		{"relative", vol("name: v\n    hostPath:\n      path: srv"), []string{`w.yaml:8: spec.volumes[0].hostPath.path: "srv" is relative: a path of the host starts with "/"`}},
		{"dots", vol("{name: v, hostPath: {path: /srv/../etc}}"), []string{`w.yaml:6: spec.volumes[0].hostPath.path: "/srv/../etc" contains "..": write where it leads`}},
		{"no path", vol("{name: v, hostPath: {}}"), []string{`w.yaml:6: spec.volumes[0].hostPath.path: required`}},
		{"type", vol("{name: v, hostPath: {path: /a, type: Dir}}"), []string{`w.yaml:6: spec.volumes[0].hostPath.type: "Dir" is not one of Directory, DirectoryOrCreate, File, FileOrCreate`}},
		{"type of a Pod", vol("{name: v, hostPath: {path: /a, type: Socket}}"), []string{`w.yaml:6: spec.volumes[0].hostPath.type: Socket is not supported yet`}},
		{"sockets", vol("{name: v, hostPath: {path: /a, sockets: maybe}}"), []string{`w.yaml:6: spec.volumes[0].hostPath.sockets: must be true or false, not the string "maybe"`}},
		{"size 0", vol("{name: v, emptyDir: {sizeLimit: 0}}"), []string{`w.yaml:6: spec.volumes[0].emptyDir.sizeLimit: 0 is out of range: must be more than 0; leave it out for no limit`}},
		{"size below 0", vol("{name: v, emptyDir: {sizeLimit: -1Mi}}"), []string{`w.yaml:6: spec.volumes[0].emptyDir.sizeLimit: -1Mi is out of range: must be more than 0; leave it out for no limit`}},
		{"size is no quantity", vol("{name: v, emptyDir: {sizeLimit: 1MB}}"), []string{`w.yaml:6: spec.volumes[0].emptyDir.sizeLimit: "1MB" is no quantity: write it as 1Mi (times 1024) or 1M (times 1000)`}},
		{"a path alone", vol("{name: v, hostPath: /srv/x}"), []string{`w.yaml:6: spec.volumes[0].hostPath: must be a mapping of fields, not the string "/srv/x": write hostPath: {path: /srv/x}`}},
		{"files with a number", vol("{name: v, files: {x: 1}}"), []string{`w.yaml:6: spec.volumes[0].files.x: must be a string, not the integer 1: quote it`}},
		{"size as list", vol("{name: v, emptyDir: {sizeLimit: []}}"), []string{`w.yaml:6: spec.volumes[0].emptyDir.sizeLimit: must be a quantity, not a list: write it in bytes, as 256Mi, 1Gi or 64M`}},
		{"configMap", vol("{name: v, configMap: {name: x}}"), []string{`w.yaml:6: spec.volumes[0].configMap: not supported yet`}},
		{"unknown kind", vol("{name: v, floppy: {}}"), []string{`w.yaml:6: spec.volumes[0].floppy: unknown field`}},
		{"files with a path", vol("{name: v, files: {a/b: x, ..: y}}"), []string{
			`w.yaml:6: spec.volumes[0].files[..]: ".." is no plain file name: no "/", not "." or "..", at most 255 bytes`,
			`w.yaml:6: spec.volumes[0].files[a/b]: "a/b" is no plain file name: no "/", not "." or "..", at most 255 bytes`}},
		{"no files", vol("{name: v, files: {}}"), []string{`w.yaml:6: spec.volumes[0].files: must name at least one file`}},
		{"files as list", vol("{name: v, files: [a]}"), []string{`w.yaml:6: spec.volumes[0].files: must be a mapping of strings, not a list`}},
	})
}

func TestDecodeRejectsContainers(t *testing.T) {
	con := func(c string) string { return head + "  containers:\n  - " + c + "\n" }
	mount := func(m string) string {
		return head + "  volumes: [{name: data, emptyDir: {}}]\n  containers:\n  - {name: a, bundle: /b, volumeMounts: [" + m + "]}\n"
	}
	var rows []rejection
	for field, value := range map[string]string{
		"imagePullPolicy": "Never",
		"stdinOnce":       "true", "restoreFrom": "/x", "envFrom": "[a]",
	} {
		rows = append(rows, rejection{field, one + "    " + field + ": " + value + "\n", []string{"w.yaml:9: spec.containers[0]." + field + ": not supported yet"}})
	}
	checkRejections(t, append(rows, []rejection{
		{"unknown field", one + "    comand: [x]\n", []string{`w.yaml:9: spec.containers[0].comand: unknown field (did you mean "command"?)`}},
		{"image", one + "    image: nginx\n", []string{`w.yaml:9: spec.containers[0].image: not supported yet: name a root directory, rootfs: {path: /srv/root}, or an OCI bundle; docs/recipes.md says how to make one of an image`}},
		{"ports", one + "    ports: [{containerPort: 80}]\n", []string{`w.yaml:9: spec.containers[0].ports: has no place here: with network: {mode: host} what listens in the sandbox can be reached at the host's addresses`}},
		{"a root alone", con("{name: app, rootfs: /r, command: [x]}"), []string{`w.yaml:6: spec.containers[0].rootfs: must be a mapping of fields, not the string "/r": write rootfs: {path: /r}`}},
		{"quantities", one + "    resources: {limits: {memory: 64MB, cpu: half}}\n", []string{
			`w.yaml:9: spec.containers[0].resources.limits.cpu: "half" is no quantity: write it in cores, as 500m, 2 or 0.5`,
			`w.yaml:9: spec.containers[0].resources.limits.memory: "64MB" is no quantity: write it as 64Mi (times 1024) or 64M (times 1000)`}},
		{"of others", one + "    resources: {limits: {memory: 1g, ephemeral-storage: 2GiB}}\n", []string{
			`w.yaml:9: spec.containers[0].resources.limits.ephemeral-storage: "2GiB" is no quantity: write it as 2Gi`,
			`w.yaml:9: spec.containers[0].resources.limits.memory: "1g" is no quantity: write it as 1Gi (times 1024) or 1G (times 1000)`}},
		{"no source", con("name: app"), []string{`w.yaml:6: spec.containers[0]: no source for its file system: one of rootfs, bundle`}},
		{"two sources", con("{name: app, bundle: /b, rootfs: {path: /r}, command: [x]}"), []string{`w.yaml:6: spec.containers[0]: rootfs and bundle exclude each other: a container has one source for its file system`}},
		{"misspelt source", con("{name: app, rotfs: {path: /}}"), []string{`w.yaml:6: spec.containers[0].rotfs: unknown field (did you mean "rootfs"?)`}},
		{"relative rootfs", con("{name: app, rootfs: {path: r}, command: [x]}"), []string{`w.yaml:6: spec.containers[0].rootfs.path: "r" is relative: a path of the host starts with "/"`}},
		{"relative bundle", con("{name: app, bundle: ./b}"), []string{`w.yaml:6: spec.containers[0].bundle: "./b" is relative: a path of the host starts with "/"`}},
		{"path too long", con("{name: app, bundle: /" + strings.Repeat("a", 256) + "}"), []string{`w.yaml:6: spec.containers[0].bundle: too long: a name in a path has at most 255 bytes`}},
		{"no command", con("{name: app, rootfs: {path: /r}, args: [x]}"), []string{`w.yaml:6: spec.containers[0].command: required: a rootfs names no command of its own`}},
		{"empty command", con("{name: app, bundle: /b, command: [\"\"]}"), []string{`w.yaml:6: spec.containers[0].command[0]: must not be empty`}},
		{"command with a number", con("{name: app, bundle: /b, command: [sleep, 60]}"), []string{`w.yaml:6: spec.containers[0].command[1]: must be a string, not the integer 60: quote it`}},
		{"command as text", con("{name: app, bundle: /b, command: sleep}"), []string{`w.yaml:6: spec.containers[0].command: must be a list, not the string "sleep"`}},
		{"NUL", con(`{name: app, bundle: /b, command: ["a\0b"]}`), []string{`w.yaml:6: spec.containers[0].command[0]: contains a NUL byte`}},
		{"names twice", con("{name: app, bundle: /b}\n  - {name: app, bundle: /b}"), []string{`w.yaml:7: spec.containers[1].name: "app" is declared twice`}},
		{"no name", con("bundle: /b"), []string{`w.yaml:6: spec.containers[0].name: required`}},
		{"relative workingDir", one + "    workingDir: x\n", []string{`w.yaml:9: spec.containers[0].workingDir: "x" is relative: must start with "/"`}},
		{"allowPrivilegeEscalation", one + "    securityContext: {allowPrivilegeEscalation: false}\n",
			[]string{`w.yaml:9: spec.containers[0].securityContext.allowPrivilegeEscalation: is called noNewPrivileges here, and means the opposite: write noNewPrivileges: true for false`}},
		{"tty", one + "    tty: true\n", []string{`w.yaml:9: spec.containers[0].tty: is called terminal here: write terminal: true`}},
		{"console without terminal", one + "    consoleSocket: /s\n", []string{`w.yaml:9: spec.containers[0].consoleSocket: needs terminal: true`}},
		{"console with stdin", one + "    terminal: true\n    consoleSocket: /s\n    stdin: true\n", []string{`w.yaml:11: spec.containers[0].stdin: excludes consoleSocket: whoever has the terminal types there, and nobody can attach`}},
		{"relative files", one + "    pidFile: p\n    userLog: u\n", []string{
			`w.yaml:9: spec.containers[0].pidFile: "p" is relative: a path of the host starts with "/"`,
			`w.yaml:10: spec.containers[0].userLog: "u" is relative: a path of the host starts with "/"`}},
		{"files twice", con("{name: a, bundle: /b, pidFile: /p, userLog: /u}\n  - {name: b, bundle: /b, pidFile: /p, userLog: /v}"), []string{
			`w.yaml:7: spec.containers[1].pidFile: "/p" is another container's too`,
			`w.yaml:7: spec.containers[1].userLog: gVisor has one per sandbox, and another container declares it already`}},
		{"score", one + "    oomScoreAdj: 1001\n", []string{`w.yaml:9: spec.containers[0].oomScoreAdj: 1001 is out of range: -1000 to 1000`}},
		{"score as number", one + "    oomScoreAdj: 1.5\n", []string{`w.yaml:9: spec.containers[0].oomScoreAdj: must be an integer, not the number 1.5`}},
		{"policy", one + "    restartPolicy: Sometimes\n", []string{`w.yaml:9: spec.containers[0].restartPolicy: "Sometimes" is not one of Always, OnFailure, Never`}},
		{"bool as word", one + "    securityContext: {noNewPrivileges: yes}\n", []string{`w.yaml:9: spec.containers[0].securityContext.noNewPrivileges: must be true or false, not the string "yes"`}},
		{"user", one + "    securityContext: {runAsUser: -1, runAsGroup: 4294967295}\n", []string{
			`w.yaml:9: spec.containers[0].securityContext.runAsGroup: 4294967295 is out of range: 0 to 4294967294`,
			`w.yaml:9: spec.containers[0].securityContext.runAsUser: -1 is out of range: 0 to 4294967294`}},
		{"privileged", one + "    securityContext: {privileged: true}\n", []string{`w.yaml:9: spec.containers[0].securityContext.privileged: not supported yet`}},
		{"capabilities", one + "    securityContext: {capabilities: {add: [CAP_KILL, NET_ADMN], drop: [all, x]}}\n", []string{
			`w.yaml:9: spec.containers[0].securityContext.capabilities.add[0]: "CAP_KILL": leave out the prefix: "KILL"`,
			`w.yaml:9: spec.containers[0].securityContext.capabilities.add[1]: "NET_ADMN" is no capability (did you mean "NET_ADMIN"?)`,
			`w.yaml:9: spec.containers[0].securityContext.capabilities.drop[1]: "X" is no capability`}},
		{"signal", one + "    lifecycle: {stopSignal: SIGFOO}\n", []string{`w.yaml:9: spec.containers[0].lifecycle.stopSignal: "SIGFOO" is no signal's name; write it as SIGTERM, TERM or 15`}},
		{"signal as number", one + "    lifecycle: {stopSignal: 15}\n", []string{`w.yaml:9: spec.containers[0].lifecycle.stopSignal: must be a string, not the integer 15: quote it`}},
		{"postStart", one + "    lifecycle: {postStart: {exec: {command: [x]}}}\n", []string{`w.yaml:9: spec.containers[0].lifecycle.postStart: not supported yet`}},
		{"env", one + "    env: [{value: x}, {name: A=B}, {name: C}, {name: C, value: no}, {name: D, value: on, valueFrom: {file: t}}, {name: E, value: true}]\n", []string{
			`w.yaml:9: spec.containers[0].env[0].name: required`,
			`w.yaml:9: spec.containers[0].env[1].name: "A=B" contains "="`,
			`w.yaml:9: spec.containers[0].env[3].name: "C" is declared twice`,
			`w.yaml:9: spec.containers[0].env[4]: value and valueFrom exclude each other`,
			`w.yaml:9: spec.containers[0].env[4].valueFrom.file: "t" is relative: a path of the host starts with "/"`,
			`w.yaml:9: spec.containers[0].env[5].value: must be a string, not the boolean true: quote it`}},
		{"env from elsewhere", one + "    env: [{name: A, valueFrom: {secretKeyRef: {name: x}}}]\n", []string{
			`w.yaml:9: spec.containers[0].env[0].valueFrom.file: required`,
			`w.yaml:9: spec.containers[0].env[0].valueFrom.secretKeyRef: not supported yet`}},
		{"hooks", one + "    hooks:\n      prestart: [{path: /x}, {path: x}, {timeout: 0, path: /x}]\n      createRuntime: [{path: /a/../x, env: [A, =b, A=]}]\n" +
			"      poststop: [{path: /x, timeout: 86401, args: [\"a\\0b\"]}]\n      startContainer: [{path: /x}]\n", []string{
			`w.yaml:10: spec.containers[0].hooks.prestart[1].path: "x" is relative: a path of the host starts with "/"`,
			`w.yaml:10: spec.containers[0].hooks.prestart[2].timeout: 0 is out of range: 1 to 86400 seconds`,
			`w.yaml:11: spec.containers[0].hooks.createRuntime[0].env[0]: "A" is not NAME=VALUE`,
			`w.yaml:11: spec.containers[0].hooks.createRuntime[0].env[1]: "=b" is not NAME=VALUE`,
			`w.yaml:11: spec.containers[0].hooks.createRuntime[0].path: "/a/../x" contains "..": write where it leads`,
			`w.yaml:12: spec.containers[0].hooks.poststop[0].args[0]: contains a NUL byte`,
			`w.yaml:12: spec.containers[0].hooks.poststop[0].timeout: 86401 is out of range: 1 to 86400 seconds`,
			`w.yaml:13: spec.containers[0].hooks.startContainer: not supported by gvisor: it runs no hooks inside a container's namespaces; prestart, createRuntime, poststart and poststop run on the host`}},
		{"limits", one + "    resources:\n      limits: {cpu: 0.0001, memory: 4095Ki, pids: 0}\n      requests: {cpu: 1}\n", []string{
			`w.yaml:10: spec.containers[0].resources.limits.cpu: 100u is out of range: at least 1m, at most 100k`,
			`w.yaml:10: spec.containers[0].resources.limits.memory: 4095Ki is out of range: at least 4Mi, at most 1Ei`,
			`w.yaml:10: spec.containers[0].resources.limits.pids: 0 is out of range: 1 to 4194304`,
			`w.yaml:11: spec.containers[0].resources.requests: not supported yet`}},
		{"limit below 0", one + "    resources: {limits: {cpu: -1}}\n", []string{`w.yaml:9: spec.containers[0].resources.limits.cpu: -1 is out of range: at least 1m, at most 100k`}},
		{"unknown volume", mount("{name: dat, mountPath: /d}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[0].name: there is no volume "dat" (did you mean "data"?)`}},
		{"mount without all", mount("{}"), []string{
			`w.yaml:7: spec.containers[0].volumeMounts[0].mountPath: required`,
			`w.yaml:7: spec.containers[0].volumeMounts[0].name: required`}},
		{"relative mount", mount("{name: data, mountPath: d}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[0].mountPath: "d" is relative: must start with "/"`}},
		{"mount over /", mount("{name: data, mountPath: /..}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[0].mountPath: "/" belongs to the system: nothing can be mounted over / or /dev, nor at or below /proc and /sys`}},
		{"mount below /proc", mount("{name: data, mountPath: /a/../proc/1}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[0].mountPath: "/proc/1" belongs to the system: nothing can be mounted over / or /dev, nor at or below /proc and /sys`}},
		{"mount twice", mount("{name: data, mountPath: /d}, {name: data, mountPath: /d/}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[1].mountPath: "/d" is mounted on twice`}},
		{"subPath", mount("{name: data, mountPath: /d, subPath: x}"), []string{`w.yaml:7: spec.containers[0].volumeMounts[0].subPath: not supported yet`}},
	}...))
}

func TestDecodeRejectsYAML(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
	checkRejections(t, []rejection{
		{"syntax", "metadata:\n  # which\n  name: web\n  x: [\n", []string{`w.yaml:4: not valid YAML: a bracket is not closed, or a value is missing: did not find expected node content`}},
		{"unclosed list", one + "    args: [a, b\n    env: []\n", []string{`w.yaml:9: not valid YAML: a bracket is not closed, or a comma is missing: did not find expected ',' or ']'`}},
		{"tab", "metadata:\n\tname: web\n", []string{`w.yaml:2: not valid YAML: column 1 is a tab, and tabs can't indent: use spaces: found character that cannot start any token`}},
		{"no colon", "metadata:\n  name web\n  labels: {}\n", []string{`w.yaml:3: not valid YAML: a value that holds ": " has to be quoted; or the line before lacks a ":" behind its key, or is indented otherwise: mapping values are not allowed in this context`}},
		{"colon in a value", "metadata:\n  name: a: b\n", []string{`w.yaml:2: not valid YAML: a value that holds ": " has to be quoted; or the line before lacks a ":" behind its key, or is indented otherwise: mapping values are not allowed in this context`}},
		{"at", "metadata:\n  name: @b\n", []string{`w.yaml:2: not valid YAML: a value that begins with "@", "%" or a backquote has to be quoted: found character that cannot start any token`}},
		{"open quote", "metadata:\n  name: \"b\n", []string{`w.yaml:2: not valid YAML: a quote is not closed: found unexpected end of stream`}},
		{"quote in a quote", "metadata:\n  name: 'it's'\n", []string{`w.yaml:2: not valid YAML: no key can be read: look at quotes and indentation: did not find expected key`}},
		{"less indented than the list", one + "   command: [/x]\n    env: []\n", []string{`w.yaml:9: not valid YAML: it is indented by 3, and what was begun before it by 0, 2, 4: did not find expected key`}},
		{"less indented than the key", "metadata:\n   name: web\n   labels:\n     a: b\n  annotations: {}\nspec: {}\n", []string{`w.yaml:5: not valid YAML: it is indented by 2, and what was begun before it by 0, 3, 5: did not find expected key`}},
		{"the same behind comments", "metadata:\n   name: web # so\n\n # two\n  labels: {}\n---\n", []string{`w.yaml:5: not valid YAML: it is indented by 2, and what was begun before it by 0, 3: did not find expected key`}},
		{"a list's entry too far out", "metadata:\n  name: web\nspec:\n  containers:\n    - name: a\n   - name: b\n", []string{`w.yaml:6: not valid YAML: it is indented by 3, and what was begun before it by 0, 2, 4, 6: did not find expected key`}},
		{"a list's entry without a dash", "metadata:\n  name: web\nspec:\n  dependsOn:\n  - a\n  b: c\n   d: e\n", []string{`w.yaml:7: not valid YAML: a value that holds ": " has to be quoted; or the line before lacks a ":" behind its key, or is indented otherwise: mapping values are not allowed in this context`}},
		{"a list's entry where keys are", "metadata:\n  name: web\nspec:\n  containers:\n    - name: a\n  - name: b\n", []string{`w.yaml:6: not valid YAML: its "- " is indented as keys are, and the entries before it otherwise: did not find expected key`}},
		{"behind a dash alone", "a:\n  -\n   - b: c\n   d: e\n", []string{`w.yaml:4: not valid YAML: a list goes on with "- ", indented as before: did not find expected '-' indicator`}},
		{"in a second document", one + "---\nmetadata:\n   name: web\n  labels: {}\n", []string{`w.yaml:12: not valid YAML: it is indented by 2, and what was begun before it by 0, 3: did not find expected key`}},
		{"behind a quote that spans lines", "metadata:\n   name: 'a\n\n     b'\n  labels: {}\n", []string{`w.yaml:5: not valid YAML: it is indented by 2, and what was begun before it by 0, 3, 5: did not find expected key`}},
		{"open brace", "metadata: {name: b\n", []string{`w.yaml:1: not valid YAML: a bracket is not closed, or a comma is missing: did not find expected ',' or '}'`}},
		{"star", "metadata:\n  name: *\n", []string{`w.yaml:2: not valid YAML: a value that begins with "*" or "&" has to be quoted: did not find expected alphabetic or numeric character`}},
		{"no anchor", "metadata:\n  name: *b\n", []string{`w.yaml:2: not valid YAML: a value that begins with "*" has to be quoted, or the anchor be set before: unknown anchor 'b' referenced`}},
		{"no key", "metadata:\n  name: b\nspec\n", []string{`w.yaml:3: not valid YAML: a ":" is missing behind a key: could not find expected ':'`}},
		{"Latin-1", "metadata:\n  name: \xe9\n", []string{`w.yaml:2: not valid YAML: the text is not UTF-8: incomplete UTF-8 octet sequence`}},
		{"NUL", "metadata:\n  name: a\x00\n", []string{`w.yaml:2: not valid YAML: save it as plain text, in UTF-8: control characters are not allowed`}},
		{"tab after spaces", "metadata:\r\n  name: web\r\n  \tx: 1\r\n", []string{`w.yaml:3: not valid YAML: column 3 is a tab, and tabs can't indent: use spaces: found a tab character that violates indentation`}},
		{"tab in a second document", one + "---\nmetadata:\n\tname: web\n", []string{`w.yaml:11: not valid YAML: column 1 is a tab, and tabs can't indent: use spaces: found character that cannot start any token`}},
		{"alias to nothing", "a: *b\n", []string{`w.yaml:1: not valid YAML: a value that begins with "*" has to be quoted, or the anchor be set before: unknown anchor 'b' referenced`}},
		{"alias cycle", "a: &a [*a]\n", []string{`w.yaml:1: a[0]: the alias *a contains itself`}},
		{"alias bomb", bomb, []string{`w.yaml:1: e[2][9][7][9][7]: too large: a document has at most 50000 values, 64 levels deep, aliases expanded`}},
		{"too deep", "a: " + strings.Repeat("[", 70) + strings.Repeat("]", 70), []string{`w.yaml:1: a` + strings.Repeat("[0]", 64) + `: too large: a document has at most 50000 values, 64 levels deep, aliases expanded`}},
		{"too large", strings.Repeat("#", MaxFileSize+1), []string{`w.yaml:1: too large: a manifest file has at most 1048576 bytes`}},
		{"not UTF-8", "a: \xff\xfe\n", []string{"w.yaml:1: not valid YAML: the text is not UTF-8: invalid leading UTF-8 octet"}},
		{"bad merge", head + "  <<: x" + tail, []string{`w.yaml:5: spec: a merge key (<<) takes a mapping or a list of mappings`}},
		{"one bad among good", one + "---\nmetadata: {name: db, x: [}\n---\n" + one, []string{`w.yaml:10: not valid YAML: a bracket is not closed, or a value is missing: did not find expected node content`}},
	})
}
