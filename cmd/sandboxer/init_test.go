package main

import (
	"testing"
	"time"

	"sandboxer/internal/api"
)

func TestInitPhase(t *testing.T) {
	done, ahead := api.Container{State: "stopped", Ready: true, ExitCode: new(0), Reason: "Completed"}, api.Container{State: "created"}
	failed := api.Container{State: "stopped", ExitCode: new(1), Reason: "Error"}
	crashing := failed
	crashing.NextStartAt = new(time.Now())
	for _, tt := range []struct {
		phase  api.Phase
		reason string
		init   []api.Container
		want   string // empty: the sandbox's own
	}{
		{api.Pending, "Initializing", []api.Container{ahead, ahead}, "Init:0/2"},
		{api.Pending, "Initializing", []api.Container{done, {State: "running"}, ahead}, "Init:1/3"},
		{api.Pending, "Initializing", []api.Container{failed}, "Init:Error"},
		{api.Pending, "CrashLoopBackOff", []api.Container{done, crashing}, "Init:CrashLoopBackOff"},
		{api.Failed, "Error", []api.Container{failed}, "Init:Error"},
		{api.Failed, "OOMKilled", []api.Container{{State: "stopped", ExitCode: new(137), Reason: "OOMKilled"}}, "Init:OOMKilled"},
		{api.Failed, "SandboxLost", []api.Container{{State: "stopped", Reason: "SandboxLost"}}, "Init:SandboxLost"},
		{api.Pending, "Creating", []api.Container{failed}, ""},
		{api.Failed, "CreateFailed", []api.Container{ahead}, ""},
		{api.Pending, "CrashLoopBackOff", []api.Container{done}, ""},
		{api.Stopped, "", []api.Container{failed}, ""},
		{api.Paused, "", []api.Container{{State: "paused"}}, ""},
		{api.Pending, "Initializing", nil, ""},
	} {
		got, ok := initPhase(api.Status{Phase: tt.phase, Reason: tt.reason, InitContainers: tt.init})
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s %s %+v: %q, %v, expected %q", tt.phase, tt.reason, tt.init, got, ok, tt.want)
		}
	}
}
