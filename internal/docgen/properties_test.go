package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// proved are the tests that hold each property of a manifest to being carried out.
// What has no property of its own to hold, as its fields have them, is empty. What
// is refused by name is in TestLater.
var proved = map[string]string{
	"Manifest.apiVersion": "desired.TestDecodeRejectsEnvelope",
	"Manifest.kind":       "desired.TestDecodeRejectsEnvelope",
	"Manifest.metadata":   "",
	"Manifest.spec":       "",
	"Metadata.name":       "desired.TestDecodeRejectsEnvelope test.TestOneNameTwice",
	"Metadata.labels":     "desired.TestChanges desired.TestDecodeRejectsEnvelope",

	"Spec.state":                         "test.TestEveryStateFromEveryOther reconcile/plan.TestPlanStates",
	"Spec.runtime":                       "desired.TestDecodeRejectsSpec",
	"Spec.hostname":                      "test.TestWhatAContainerSees test.TestChangesOfTheSandbox",
	"Spec.dependsOn":                     "test.TestDependsOn test.TestDependencyCycle",
	"Spec.restartPolicy":                 "test.TestRestartPolicies",
	"Spec.restartBackoff":                "",
	"Spec.terminationGracePeriodSeconds": "test.TestIgnoresSIGTERM",
	"Spec.restoreFrom":                   "test.TestCheckpoint test.TestInitContainersRestoredFrom",
	"Spec.network":                       "",
	"Spec.volumes":                       "",
	"Spec.initContainers":                "test.TestInitContainers test.TestInitContainerFails",
	"Spec.containers":                    "test.TestContainersComeAndGo",
	"RestartBackoff.initial":             "test.TestBackOff",
	"RestartBackoff.max":                 "test.TestBackOff",
	"RestartBackoff.resetAfter":          "reconcile/plan.TestResetAfter",
	"Network.mode":                       "test.TestWhatAContainerSees test.TestProbesOnHostNetwork",

	"Volume.name":        "desired.TestDecodeRejectsVolumes",
	"Volume.hostPath":    "test.TestVolumes",
	"Volume.emptyDir":    "test.TestVolumes test.TestStoppedKeepsVolumesOnly",
	"Volume.files":       "test.TestVolumes",
	"HostPath.path":      "test.TestVolumes",
	"HostPath.type":      "test.TestVolumes test.TestVolumesThatAreNotThere",
	"HostPath.sockets":   "test.TestSockets test.TestSocketsOff",
	"EmptyDir.sizeLimit": "test.TestVolumes",

	"Container.name":            "desired.TestDecodeRejectsContainers",
	"Container.rootfs":          "test.TestRootIsNeverWritten test.TestMissingRoot",
	"Container.bundle":          "test.TestBundle",
	"Container.command":         "test.TestCommandNotThere test.TestReferences",
	"Container.args":            "test.TestReferences test.TestChangesOfOneContainer",
	"Container.workingDir":      "test.TestWhatAContainerSees",
	"Container.env":             "test.TestWhatAContainerSees test.TestReferences",
	"Container.resources":       "",
	"Container.oomScoreAdj":     "test.TestOOMScores test.TestNegativeOOMScore",
	"Container.volumeMounts":    "test.TestVolumes",
	"Container.restartPolicy":   "test.TestRestartPolicies",
	"Container.livenessProbe":   "test.TestLiveness",
	"Container.readinessProbe":  "test.TestReadiness",
	"Container.startupProbe":    "test.TestStartup",
	"Container.stdin":           "test.TestAttach",
	"Container.terminal":        "test.TestTerminal",
	"Container.consoleSocket":   "test.TestConsoleSocket",
	"Container.pidFile":         "test.TestPIDFile",
	"Container.userLog":         "test.TestUserLog",
	"Container.lifecycle":       "",
	"Container.securityContext": "",
	"Container.hooks":           "",
	"Rootfs.path":               "test.TestRootIsNeverWritten test.TestMissingRoot",
	"Rootfs.readOnly":           "test.TestRootIsNeverWritten",
	"EnvVar.name":               "test.TestWhatAContainerSees",
	"EnvVar.value":              "test.TestWhatAContainerSees",
	"EnvVar.valueFrom":          "test.TestSecretsAreInNoFile",
	"EnvSource.file":            "test.TestSecretsAreInNoFile",
	"Resources.limits":          "",
	"Limits.cpu":                "test.TestLimitsShowInside test.TestChangesInPlace",
	"Limits.memory":             "test.TestMemoryLimitIsEnforced test.TestOOMKilledInside",
	"Limits.pids":               "test.TestPidsLimit",
	"Limits.ephemeral-storage":  "test.TestStorageLimit",
	"VolumeMount.name":          "test.TestVolumes",
	"VolumeMount.mountPath":     "test.TestVolumes test.TestNoMountPoint",
	"VolumeMount.readOnly":      "test.TestVolumes",

	"Probe.exec":                          "test.TestReadiness internal/probe.TestMeans",
	"Probe.httpGet":                       "test.TestProbesOnHostNetwork internal/probe.TestMeans",
	"Probe.tcpSocket":                     "test.TestProbesOnHostNetwork internal/probe.TestMeans",
	"Probe.initialDelaySeconds":           "internal/probe.TestThresholds",
	"Probe.periodSeconds":                 "internal/probe.TestThresholds",
	"Probe.timeoutSeconds":                "test.TestProbeTimeout internal/probe.TestSlow",
	"Probe.successThreshold":              "internal/probe.TestThresholds",
	"Probe.failureThreshold":              "internal/probe.TestThresholds",
	"Probe.terminationGracePeriodSeconds": "test.TestLiveness",
	"ExecAction.command":                  "test.TestReadiness",
	"HTTPGetAction.path":                  "internal/probe.TestRequest",
	"HTTPGetAction.port":                  "internal/probe.TestRequest",
	"HTTPGetAction.host":                  "internal/probe.TestRequest test.TestProbesOnHostNetwork",
	"HTTPGetAction.scheme":                "internal/probe.TestHTTPS",
	"HTTPGetAction.httpHeaders":           "internal/probe.TestRequest",
	"HTTPHeader.name":                     "internal/probe.TestRequest",
	"HTTPHeader.value":                    "internal/probe.TestRequest",
	"TCPSocketAction.port":                "internal/probe.TestMeans",
	"TCPSocketAction.host":                "internal/probe.TestMeans",

	"Lifecycle.preStop":    "",
	"Lifecycle.stopSignal": "test.TestStopSignal desired.TestSignals",
	"PreStop.exec":         "test.TestPreStop",
	"PreStop.httpGet":      "test.TestPreStop",
	"PreStop.sleep":        "test.TestPreStop",
	"SleepAction.seconds":  "test.TestPreStop",

	"SecurityContext.runAsUser":              "test.TestWhatAContainerSees test.TestFurtherProcesses",
	"SecurityContext.runAsGroup":             "test.TestWhatAContainerSees test.TestFurtherProcesses",
	"SecurityContext.readOnlyRootFilesystem": "test.TestRootIsNeverWritten",
	"SecurityContext.noNewPrivileges":        "test.TestSetUserID test.TestWhatAContainerSees",
	"SecurityContext.capabilities":           "",
	"Capabilities.add":                       "test.TestWhatAContainerSees test.TestFurtherProcesses",
	"Capabilities.drop":                      "test.TestWhatAContainerSees actuator.TestCapabilities",

	"Hooks.prestart":      "test.TestHooks test.TestHookBeforeTheCommandFails",
	"Hooks.createRuntime": "test.TestHooks",
	"Hooks.poststart":     "test.TestHooks test.TestHookAfterwardsFails",
	"Hooks.poststop":      "test.TestHooks test.TestHooksAreOwedOverRestarts",
	"Hook.path":           "test.TestHooks",
	"Hook.args":           "test.TestHooks internal/hook.TestWhatAHookGets",
	"Hook.env":            "test.TestHooks internal/hook.TestWhatAHookGets",
	"Hook.timeout":        "test.TestHookTimesOut",
}

// Each property of a manifest has a test that shows it carried out, in a file that
// speaks of it.
func TestEveryPropertyIsProved(t *testing.T) {
	types, err := schemaTypes()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for of, s := range types {
		if s.Properties == nil {
			continue
		}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			property := of + "." + p.Key
			known[property] = true
			tests, decided := proved[property]
			if !decided {
				t.Errorf("nothing says which test shows that %s is carried out", property)
			}
			// That of what has fields of its own may be theirs.
			if holds := p.Value.Ref != "" || p.Value.Items != nil && p.Value.Items.Ref != ""; decided && tests == "" && !holds {
				t.Errorf("%s has no fields that could be proved in its place", property)
			}
			for name := range strings.FieldsSeq(tests) {
				if !speaks(t, name, p.Key) {
					t.Errorf("%s: there is no test %s in a file that speaks of %s", property, name, p.Key)
				}
			}
		}
	}
	for property := range proved {
		if !known[property] {
			t.Errorf("%s is no property", property)
		}
	}
}

// speaks says whether there is that test, in a file that has a word, too.
func speaks(t *testing.T, test, word string) bool {
	t.Helper()
	dir, name := cutName(test)
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return strings.Contains(strings.ToLower(string(text)), strings.ToLower(word))
		}
	}
	return false
}
