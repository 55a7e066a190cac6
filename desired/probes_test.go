package desired

import (
	"reflect"
	"strings"
	"testing"
)

// A Pod's rules for probes and preStop, one broken at a time.
func TestDecodeRejectsProbes(t *testing.T) {
	const at = "w.yaml:9: spec.containers[0]."
	probe := func(kind, text string) string { return one + "    " + kind + ": {" + text + "}\n" }
	live := func(text string) string { return probe("livenessProbe", text) }
	hook := func(text string) string { return one + "    lifecycle: {preStop: {" + text + "}}\n" }
	checkRejections(t, []rejection{
		{"no means", live("periodSeconds: 3"), []string{at + "livenessProbe: does nothing: one of exec, httpGet, tcpSocket"}},
		{"two means", live("tcpSocket: {port: 1}, exec: {command: [a]}"), []string{at + "livenessProbe: exec and tcpSocket exclude each other: there is one way to do it"}},
		{"grpc", live("grpc: {port: 1}"), []string{at + "livenessProbe.grpc: not supported yet"}},
		{"no command", live("exec: {}"), []string{at + "livenessProbe.exec.command: required: the program and its arguments"}},
		{"empty command", live("exec: {command: ['']}"), []string{at + "livenessProbe.exec.command: required: the program and its arguments"}},
		{"no port", live("tcpSocket: {}"), []string{at + "livenessProbe.tcpSocket.port: required: a port from 1 to 65535"}},
		{"no port for HTTP", live("httpGet: {path: /}"), []string{at + "livenessProbe.httpGet.port: required: a port from 1 to 65535"}},
		{"port as a name", live("tcpSocket: {port: http}"), []string{at + `livenessProbe.tcpSocket.port: must be an integer, not the string "http"`}},
		{"header without a name", live("httpGet: {port: 1, httpHeaders: [{value: x}]}"), []string{at + "livenessProbe.httpGet.httpHeaders[0].name: required"}},
		{"period beyond its type", live("tcpSocket: {port: 1}, periodSeconds: 9223372037"), []string{at + "livenessProbe.periodSeconds: 9223372037 is out of range: at most 2147483647"}},
		{"port", live("httpGet: {port: 65536}"), []string{at + "livenessProbe.httpGet.port: 65536 is out of range: 1 to 65535"}},
		{"port by name", live("httpGet: {port: web}"), []string{at + `livenessProbe.httpGet.port: must be an integer, not the string "web"`}},
		{"scheme", live("httpGet: {port: 1, scheme: https}"), []string{at + `livenessProbe.httpGet.scheme: "https" is not one of HTTP, HTTPS (did you mean "HTTPS"?)`}},
		{"path", live("httpGet: {port: 1, path: health}"), []string{at + `livenessProbe.httpGet.path: "health" is no path: it starts with "/" and holds no blanks`}},
		{"headers", live(`httpGet: {port: 1, httpHeaders: [{name: "a b", value: x}, {name: X, value: "a\nb"}]}`), []string{
			at + `livenessProbe.httpGet.httpHeaders[0].name: "a b" is no header's name`,
			at + `livenessProbe.httpGet.httpHeaders[1].value: "a?b" is no header's value: it holds control characters`}},
		{"host without a network", live("httpGet: {port: 1, host: other}"), []string{
			at + `livenessProbe.httpGet.host: "other" can't be reached: a sandbox without a network reaches nobody but itself; leave it out`}},
		{"host", strings.Replace(live("tcpSocket: {port: 1, host: a_b}"), "spec:\n", "spec:\n  network: {mode: host}\n", 1), []string{
			"w.yaml:10: spec.containers[0]." + `livenessProbe.tcpSocket.host: "a_b" is neither a host name nor an address`}},
		{"negative", live("tcpSocket: {port: 1}, initialDelaySeconds: -1, periodSeconds: -1, timeoutSeconds: -1, successThreshold: -1, failureThreshold: -1"), []string{
			at + "livenessProbe.failureThreshold: -1 is out of range: 0 to 2147483647",
			at + "livenessProbe.initialDelaySeconds: -1 is out of range: 0 to 2147483647",
			at + "livenessProbe.periodSeconds: -1 is out of range: 0 to 2147483647",
			at + "livenessProbe.successThreshold: -1 is out of range: 0 to 2147483647",
			at + "livenessProbe.timeoutSeconds: -1 is out of range: 0 to 2147483647"}},
		{"success of liveness", live("tcpSocket: {port: 1}, successThreshold: 2"), []string{at + "livenessProbe.successThreshold: 2: must be 1 for liveness and startup probes"}},
		{"success of startup", probe("startupProbe", "tcpSocket: {port: 1}, successThreshold: 2"), []string{at + "startupProbe.successThreshold: 2: must be 1 for liveness and startup probes"}},
		{"grace of 0", live("tcpSocket: {port: 1}, terminationGracePeriodSeconds: 0"), []string{at + "livenessProbe.terminationGracePeriodSeconds: 0 is out of range: 1 to 2147483647"}},
		{"grace of readiness", probe("readinessProbe", "tcpSocket: {port: 1}, terminationGracePeriodSeconds: 5"), []string{
			at + "readinessProbe.terminationGracePeriodSeconds: a readiness probe stops nothing: only liveness and startup probes have one"}},
		{"preStop without means", one + "    lifecycle: {preStop: {}}\n", []string{at + "lifecycle.preStop: does nothing: one of exec, httpGet, sleep"}},
		{"preStop twice", hook("sleep: {seconds: 1}, exec: {command: [a]}"), []string{at + "lifecycle.preStop: exec and sleep exclude each other: there is one way to do it"}},
		{"preStop connects", hook("tcpSocket: {port: 1}"), []string{at + "lifecycle.preStop.tcpSocket: not supported yet"}},
		{"preStop for nothing", hook("sleep: {seconds: 0}"), []string{at + "lifecycle.preStop.sleep.seconds: required: from 1 to terminationGracePeriodSeconds, 30"}},
		{"preStop for no time", hook("sleep: {}"), []string{at + "lifecycle.preStop.sleep.seconds: required: from 1 to terminationGracePeriodSeconds, 30"}},
		{"preStop too long", hook("sleep: {seconds: 31}"), []string{at + "lifecycle.preStop.sleep.seconds: 31 is out of range: 1 to terminationGracePeriodSeconds, 30"}},
	})
}

// What is left out, or 0, is as in a Pod.
func TestProbeDefaults(t *testing.T) {
	docs := Decode("w.yaml", []byte(one+`    livenessProbe: {httpGet: {port: 80}, failureThreshold: 0}
    readinessProbe: {tcpSocket: {port: 80, host: localhost}, successThreshold: 2, periodSeconds: 5}
    startupProbe: {exec: {command: [/up]}, initialDelaySeconds: 3, timeoutSeconds: 4, failureThreshold: 6, terminationGracePeriodSeconds: 7}
    lifecycle: {preStop: {httpGet: {path: /x, port: 1, scheme: HTTPS, httpHeaders: [{name: A, value: b}]}}}
`))
	if len(docs) != 1 || docs[0].Sandbox == nil {
		t.Fatalf("%+v", docs)
	}
	c := &docs[0].Sandbox.Spec.Containers[0]
	for _, p := range []struct{ got, want *Probe }{
		{c.LivenessProbe, &Probe{HTTPGet: &HTTPGetAction{Path: "/", Port: 80, Scheme: "HTTP"}, PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3}},
		{c.ReadinessProbe, &Probe{TCPSocket: &TCPSocketAction{Port: 80, Host: "localhost"}, PeriodSeconds: 5, TimeoutSeconds: 1, SuccessThreshold: 2, FailureThreshold: 3}},
		{c.StartupProbe, &Probe{Exec: &ExecAction{Command: []string{"/up"}}, InitialDelaySeconds: 3, PeriodSeconds: 10, TimeoutSeconds: 4, SuccessThreshold: 1,
			FailureThreshold: 6, TerminationGracePeriodSeconds: new(int64(7))}},
	} {
		if !reflect.DeepEqual(p.got, p.want) {
			t.Errorf("%+v, want %+v", p.got, p.want)
		}
	}
	want := &PreStop{HTTPGet: &HTTPGetAction{Path: "/x", Port: 1, Scheme: "HTTPS", HTTPHeaders: []HTTPHeader{{Name: "A", Value: "b"}}}}
	if !reflect.DeepEqual(c.Lifecycle.PreStop, want) {
		t.Errorf("preStop is %+v", c.Lifecycle.PreStop)
	}
}

// A changed probe makes no container anew.
func TestProbesAreInPlace(t *testing.T) {
	probe := &Probe{TCPSocket: &TCPSocketAction{Port: 1}}
	with := Container{Name: "app", LivenessProbe: probe, ReadinessProbe: probe, StartupProbe: probe, Lifecycle: Lifecycle{PreStop: &PreStop{}}}
	without := Container{Name: "app"}
	if with.Hash() != without.Hash() {
		t.Error("the container's identity has changed")
	}
	a, b := Spec{Containers: []Container{with}}, Spec{Containers: []Container{without}}
	if got := Differences(&a, &b); len(got) > 0 {
		t.Errorf("they differ in %v", got)
	}
}
