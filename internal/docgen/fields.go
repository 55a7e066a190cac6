package main

// field is what the schema can't say of a field.
type field struct {
	byDefault string
	// change is the class of the manifest page that a change falls in.
	change  string
	meaning string
}

const (
	inPlace   = "in place"
	container = "container"
	sandbox   = "sandbox"
	as        = "as its field"
)

// fields is by TYPE.field.
var fields = map[string]field{
	"Manifest.apiVersion": {"", "–", "Always `sandboxer/v1`."},
	"Manifest.kind":       {"", "–", "Always `Sandbox`."},
	"Manifest.metadata":   {"", as, ""},
	"Manifest.spec":       {"", as, ""},

	"Metadata.name": {"", "another sandbox",
		"DNS label: at most 63 lower-case letters, digits and `-`, a letter or digit at both ends. Unique on the host; it is the identity."},
	"Metadata.labels": {"", inPlace, "Kubernetes' rules for keys and values. They start nothing and touch no process."},

	"Spec.state":          {"`Running`", inPlace, "See [Declared states](#declared-states)."},
	"Spec.runtime":        {"`gvisor`", sandbox, "The only runtime so far."},
	"Spec.hostname":       {"`metadata.name`", sandbox, "DNS labels with dots between, at most 64 characters. Also set as `HOSTNAME`."},
	"Spec.dependsOn":      {"none", inPlace, "Names of sandboxes that have to be ready before this one is started. See [Order](#order)."},
	"Spec.restartPolicy":  {"`Always`", inPlace, "Which ends of a container are followed by a new start. A container may override it. An end that nobody saw counts as a failure: `OnFailure` starts again, `Never` does not."},
	"Spec.restartBackoff": {"", inPlace, "The waits between restarts."},
	"Spec.terminationGracePeriodSeconds": {"`30`", inPlace,
		"How long a container may take to end after its stop signal; 0 kills at once."},
	"Spec.restoreFrom":    {"none", inPlace, "The directory of a checkpoint that `sandboxer checkpoint` wrote, absolute. Whenever the sandbox is made, it is restored from there instead of being made anew; one that runs is left alone. See [Checkpoints](#checkpoints)."},
	"Spec.network":        {"", sandbox, "What the sandbox sees of the network."},
	"Spec.volumes":        {"", sandbox, "Named sources of files. A changed source replaces the sandbox."},
	"Spec.initContainers": {"none", as + "; `container` is `sandbox` here", "Run one after the other, each to success, before any of `containers` is started. The same form as these, without `restartPolicy` and `lifecycle`; names are unique among both. One added, removed or moved replaces the sandbox. See [Order](#order)."},
	"Spec.containers":     {"", as, "At least one. All share the sandbox's kernel, cgroup, host name and network; each has its own root, mounts and process IDs. A container added or removed leaves its siblings running."},

	"RestartBackoff.initial":    {"`1s`", inPlace, "The wait before the second restart in a row; the first is immediate. Then doubled, ±10 %."},
	"RestartBackoff.max":        {"`5m`, or `initial` if that is more", inPlace, "The longest wait; not less than `initial`."},
	"RestartBackoff.resetAfter": {"`10m`", inPlace, "A run of this length forgives what failed before it."},

	"Network.mode": {"`none`", sandbox,
		"`none`: a loopback interface of its own and nothing else. `host`: the host's network, with the host's `/etc/resolv.conf` and `/etc/hosts` mounted read-only; see [security](security.md#host-network)."},

	"Volume.name":     {"", sandbox, "DNS label, unique in the sandbox."},
	"Volume.hostPath": {"", sandbox, "A file or directory of the host."},
	"Volume.emptyDir": {"", sandbox, "A directory that every user of the container may write to. It is kept over restarts, `Stopped` and replacements, and goes when nothing declares the sandbox any more. `emptyDir: {}` is one without a limit."},
	"Volume.files":    {"", sandbox, "File name → literal content, always mounted read-only. A name holds no `/`."},

	"HostPath.path":    {"", sandbox, "Absolute, without `..`."},
	"HostPath.sockets": {"`false`", sandbox, "`true` lets containers connect to the host's unix sockets in it, as the user that they run as, and bind sockets of their own there that the host can connect to. Otherwise sockets stay inside the sandbox. See [Host sockets](operations.md#host-sockets) first."},
	"HostPath.type":    {"no check", sandbox, "As in a Pod. The `…OrCreate` types make what is missing when a container that mounts it starts."},

	"EmptyDir.sizeLimit": {"none", sandbox,
		"With it the directory is a tmpfs of that size, with one file for each 4 KiB, 1024 to 1,048,576: what is beyond that fails with ENOSPC, what is in it is memory, and a reboot empties it. Without, it is a directory in the data directory, which [`ephemeral-storage`](#limits-and-what-applications-see) bounds."},

	"Container.name": {"", "another container", "DNS label, unique in the sandbox."},
	"Container.rootfs": {"", container,
		"A directory as the root. Exactly one of `rootfs` and `bundle`."},
	"Container.bundle": {"", container,
		"An OCI bundle: its `config.json` is the base that the other fields change. See [Bundles](#bundles)."},
	"Container.command":       {"the bundle's", container, "Program and first arguments. Required with `rootfs`. See [References](#references)."},
	"Container.args":          {"", container, "Appended to `command`, or to the bundle's arguments. See [References](#references)."},
	"Container.workingDir":    {"`/`, or the bundle's", container, "Absolute."},
	"Container.env":           {"", container, "Set over the bundle's. `PATH` gets the usual default, `HOSTNAME` the host name."},
	"Container.resources":     {"", inPlace, "Upper bounds."},
	"Container.oomScoreAdj":   {"unset", inPlace, "−1000 to 1000. Unset and 0 are different: see [OOM scores](#oom-scores)."},
	"Container.volumeMounts":  {"", container, "Where volumes show."},
	"Container.restartPolicy": {"the sandbox's", inPlace, "Overrides `spec.restartPolicy` for this container."},
	"Container.stdin":         {"`false`", container, "As in a Pod. `true` keeps the command's stdin open, for `sandboxer attach`; it never comes to an end. Otherwise there is nothing to read."},
	"Container.terminal":      {"`false`", container, "`true` gives the command a terminal, as `tty` does in a Pod. What it writes there is in the log as stdout; `sandboxer attach` shows it, and types with `stdin: true`. `TERM` is `xterm` unless `env` says otherwise."},
	"Container.consoleSocket": {"none", container, "Absolute path of a unix socket of the host, to which the terminal's master is sent (SCM_RIGHTS) whenever the container is started, as `--console-socket` of an OCI runtime does. Needs `terminal: true`. What is written to the terminal is then for who has it, and in no log. It is refused where a container can write."},
	"Container.pidFile":       {"none", container, "Absolute path of a file of the host that gets the sandbox's pid (`sandboxPid` in the status) before the command runs, in one piece, as `--pid-file` of an OCI runtime does. It goes when the container is taken away: with its sandbox, or to be made anew."},
	"Container.userLog":       {"none", sandbox, "Absolute path of a file of the host to which gVisor appends, as lines of JSON, which system calls an application asked for that it does not have: `--user-log` of `runsc`. One container of a sandbox may declare it; it is about all of them."},
	"Container.lifecycle":     {"", inPlace, ""},
	"Container.securityContext": {"", container,
		"What its processes may do inside the sandbox."},

	"Container.hooks": {"", container, "Programs that run on the host, as root. See [Hooks](#hooks)."},

	"Hooks.prestart":      {"", container, "Run before the command. One that fails keeps the container from being started."},
	"Hooks.createRuntime": {"", container, "Run after `prestart`; the same otherwise."},
	"Hooks.poststart":     {"", container, "Run once the command runs, beside it. One that fails is told of in the events and changes nothing."},
	"Hooks.poststop":      {"", container, "Run once the container has ended and is taken out of the sandbox. One that fails is told of in the events, and the others still run."},

	"Hook.path":    {"", container, "A program of the host, absolute."},
	"Hook.args":    {"`path` alone", container, "All that the program gets, the name that it is called by included, as in OCI's specification."},
	"Hook.env":     {"none", container, "`NAME=VALUE` each. There is nothing else in its environment."},
	"Hook.timeout": {"`30`", container, "Seconds, 1 to 86400. Then it is killed with its process group and counts as failed."},

	"Rootfs.path":     {"", container, "Absolute host path. `/` is the host's own root. Never written to, not even for mount points; several containers may share one."},
	"Rootfs.readOnly": {"`false`", container, "`false`: writes go to a layer of the container's own, on a nameless file in the data directory, until the container is made anew. `true`: writes fail with EROFS."},

	"EnvVar.name":      {"", container, "Not empty, without `=`, declared once."},
	"EnvVar.value":     {"empty", container, "Literal, but for [references](#references)."},
	"EnvVar.valueFrom": {"", container, "Instead of `value`."},
	"EnvSource.file":   {"", container, "Absolute host path, read when the container is made; one trailing newline is dropped. What it holds shows in no status and no command's output. Let only root read it."},

	"Resources.limits": {"", inPlace, "See [Limits](#limits-and-what-applications-see)."},
	"Limits.cpu":       {"none", inPlace, "Cores: `500m`, `2`. At least `1m`; less than `10m` counts as `10m`, the least that the kernel grants. In force only where every container has one."},
	"Limits.memory":    {"none", inPlace, "Bytes: `256Mi`. At least `4Mi`. Swap does not extend it."},

	"Limits.pids": {"see [Limits](#limits-and-what-applications-see)", inPlace, "Threads of all processes together, `exec`'s among them, 1 to 4194304. One more fails with EAGAIN."},

	"Limits.ephemeral-storage": {"none", inPlace, "Bytes that the container may write to its root, and, with its siblings', to emptyDirs: `1Gi`. At least `4Ki`. What is more fails with ENOSPC. See [Limits](#limits-and-what-applications-see)."},

	"VolumeMount.name":      {"", container, "A volume of the sandbox."},
	"VolumeMount.mountPath": {"", container, "Absolute; `..` and links are resolved inside the container's root only. Not `/` or `/dev`, nor at or below `/proc` and `/sys`; each path once."},
	"VolumeMount.readOnly":  {"`false`; `true` for `files`", container, "Refuses writes, in submounts too. The first container that is to write a volume which none wrote when the sandbox was made has the sandbox made anew: the volume stays one for all."},

	"Container.livenessProbe":  {"none", inPlace, "One that fails has the container restarted. See [Probes](#probes)."},
	"Container.readinessProbe": {"none", inPlace, "It says whether the container is ready: `get`, `wait` and `dependsOn` go by that. One without is ready as long as it runs."},
	"Container.startupProbe":   {"none", inPlace, "Until it has succeeded once there are no other probes, and the container is not ready. One that fails has the container restarted."},

	"Probe.exec":                {"", inPlace, "A command in the container, as its user and in its environment; exit code 0 is a success."},
	"Probe.httpGet":             {"", inPlace, "A request to an HTTP server; a status of 200 to 399 is a success. Redirects are followed to the same host only, and certificates are not checked."},
	"Probe.tcpSocket":           {"", inPlace, "A TCP connection; that is the success."},
	"Probe.initialDelaySeconds": {"`0`", inPlace, "How long after its start a container is probed first."},
	"Probe.periodSeconds":       {"`10`", inPlace, "How often. 0 counts as left out, here and below."},
	"Probe.timeoutSeconds":      {"`1`", inPlace, "What takes longer has failed. A command is killed then, with what it has started."},
	"Probe.successThreshold":    {"`1`", inPlace, "How many successes in a row it takes. Not more than 1 for liveness and startup probes."},
	"Probe.failureThreshold":    {"`3`", inPlace, "How many failures in a row it takes."},
	"Probe.terminationGracePeriodSeconds": {"the sandbox's", inPlace,
		"At least 1: how long the container may take to end where this probe has it restarted. Not for readiness probes."},

	"ExecAction.command": {"", inPlace, "Program and arguments. There is no shell unless they name one."},

	"HTTPGetAction.path":        {"`/`", inPlace, "With a query, if need be."},
	"HTTPGetAction.port":        {"", inPlace, "1 to 65535."},
	"HTTPGetAction.host":        {"the container", inPlace, "Whom to connect to. Without a network there is nobody else: `localhost` or `127.0.0.1`. What a server is told is the header `Host`."},
	"HTTPGetAction.scheme":      {"`HTTP`", inPlace, ""},
	"HTTPGetAction.httpHeaders": {"", inPlace, "They replace `User-Agent: sandboxer-probe`, `Accept: */*` and `Host`."},

	"HTTPHeader.name":  {"", inPlace, "It may stand more than once."},
	"HTTPHeader.value": {"", inPlace, ""},

	"TCPSocketAction.port": {"", inPlace, "1 to 65535."},
	"TCPSocketAction.host": {"the container", inPlace, "As with `httpGet`."},

	"SleepAction.seconds": {"", inPlace, "At least 1, at most the grace period."},

	"PreStop.exec":    {"", inPlace, "A command in the container, as with probes."},
	"PreStop.httpGet": {"", inPlace, "A request, as with probes."},
	"PreStop.sleep":   {"", inPlace, "Only time, for those who have to notice first."},

	"Lifecycle.preStop": {"none", inPlace, "What is done before the stop signal. See [Before the stop signal](#before-the-stop-signal)."},

	"Lifecycle.stopSignal": {"`SIGTERM`", inPlace, "`SIGTERM`, `TERM` or `15`; also `SIGRTMIN+3`. Sent to the container's first process."},

	"SecurityContext.runAsUser":              {"0, or the bundle's", container, "0 to 4294967294. Supplementary groups are dropped, and the group becomes 0 unless `runAsGroup` says otherwise."},
	"SecurityContext.runAsGroup":             {"0, or the bundle's", container, "0 to 4294967294."},
	"SecurityContext.readOnlyRootFilesystem": {"`rootfs.readOnly`", container, "Overrides it."},
	"SecurityContext.noNewPrivileges":        {"`false`, or the bundle's", container, "Programs with the set-user-ID or set-group-ID bit, or with capabilities in their files, gain nothing. Else they do, inside the sandbox."},
	"SecurityContext.capabilities":           {"", container, "Dropped first, then added, to the bundle's or these: AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, MKNOD, NET_BIND_SERVICE, SETFCAP, SETGID, SETPCAP, SETUID, SYS_CHROOT. They hold inside the sandbox only."},
	"Capabilities.add":                       {"", container, "Names without `CAP_`, or `ALL`."},
	"Capabilities.drop":                      {"", container, "Names without `CAP_`, or `ALL`."},
}

// later is what the decoder rejects as not supported yet. snippet is YAML at
// the place where each of fields stands, for the test that tries them all.
var later = []struct {
	where  string
	fields []string
	yaml   func(field string) string
}{
	{"`spec.runtime`", []string{"runc", "crun"}, inSpec("runtime: %s")},
	{"`spec.network`", []string{"ports"}, inSpec("network: {%s: x}")},
	{"`spec.network.mode`", []string{"bridge"}, inSpec("network: {mode: %s}")},
	{"`spec.volumes[]`", []string{"configMap", "secret", "projected", "persistentVolumeClaim", "csi", "image", "nfs"}, inSpec("volumes: [{name: v, %s: x}]")},
	{"`spec.volumes[].hostPath.type`", []string{"Socket", "CharDevice", "BlockDevice"}, inSpec("volumes: [{name: v, hostPath: {path: /x, type: %s}}]")},
	{"`spec.volumes[].emptyDir`", []string{"medium"}, inSpec("volumes: [{name: v, emptyDir: {%s: Memory}}]")},
	{"`spec.containers[]`", []string{"image", "imagePullPolicy", "restoreFrom", "stdinOnce", "envFrom", "volumeDevices"}, inContainer("%s: x")},
	{"`….env[].valueFrom`", []string{"configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"}, inContainer("env: [{name: E, valueFrom: {file: /x, %s: x}}]")},
	{"`….resources`", []string{"requests", "claims"}, inContainer("resources: {%s: x}")},
	{"`….volumeMounts[]`", []string{"subPath", "subPathExpr", "mountPropagation"}, inContainer("volumeMounts: [{name: v, mountPath: /v, %s: x}]")},
	{"`….lifecycle`", []string{"postStart"}, inContainer("lifecycle: {%s: x}")},
	{"`….lifecycle.preStop`", []string{"tcpSocket"}, inContainer("lifecycle: {preStop: {exec: {command: [x]}, %s: x}}")},
	{"`….livenessProbe` and the others", []string{"grpc"}, inContainer("livenessProbe: {exec: {command: [x]}, %s: x}")},
	{"`….securityContext`", []string{"privileged", "runAsNonRoot", "seccompProfile", "appArmorProfile", "seLinuxOptions", "procMount"}, inContainer("securityContext: {%s: x}")},
}
