package main

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"sandboxer/desired"
	"sandboxer/internal/api"
	"sandboxer/internal/events"
)

// fill gives every field of a specification a value that tells where it is from.
func fill(v reflect.Value, path string) {
	if v.Type() == reflect.TypeFor[resource.Quantity]() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("<" + path + ">")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, path)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name)
		}
	}
}

// What of a specification is shown is listed here: a field that is new has to be
// put on one of the two sides.
func TestRedactedFields(t *testing.T) {
	hidden := []string{"EnvVar.Value", "HTTPHeader.Value", "Hook.Env", "Volume.Files"}
	shown := strings.Fields(`
		Container.Args Container.Bundle Container.Command Container.ConsoleSocket Container.Name Container.PIDFile Container.RestartPolicy
		Container.UserLog Container.WorkingDir Capabilities.Add Capabilities.Drop EnvSource.File EnvVar.Name ExecAction.Command HTTPGetAction.Host
		HTTPGetAction.Path HTTPGetAction.Scheme HTTPHeader.Name Hook.Args Hook.Path HostPath.Path HostPath.Type Lifecycle.StopSignal Network.Mode
		Rootfs.Path Spec.DependsOn Spec.Hostname Spec.RestartPolicy Spec.RestoreFrom Spec.Runtime Spec.State TCPSocketAction.Host
		Volume.Name VolumeMount.MountPath VolumeMount.Name`)
	of := func(withEnv bool) []string {
		var s desired.Spec
		fill(reflect.ValueOf(&s).Elem(), "Spec")
		for _, list := range [][]desired.Container{s.InitContainers, s.Containers} {
			for _, hooks := range [][]desired.Hook{list[0].Hooks.Prestart, list[0].Hooks.CreateRuntime, list[0].Hooks.Poststart, list[0].Hooks.Poststop} {
				hooks[0].Env[0] = "NAME=" + hooks[0].Env[0]
			}
		}
		r := redactor{withEnv: withEnv}
		r.spec(&s)
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(b), redacted) == 0 {
			t.Error("nothing tells that something was left out")
		}
		var list []string
		for _, m := range regexp.MustCompile(`u003c(\w+\.\w+)\\u003e`).FindAllStringSubmatch(string(b), -1) {
			list = append(list, m[1])
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	slices.Sort(shown)
	if got := of(false); !slices.Equal(got, shown) {
		t.Errorf("it shows\n%v\nwant\n%v", got, shown)
	}
	shown = append(shown, "EnvVar.Value")
	slices.Sort(shown)
	if got := of(true); !slices.Equal(got, shown) {
		t.Errorf("with variables it shows\n%v\nwant\n%v", got, shown)
	}
	for _, h := range hidden {
		if h != "EnvVar.Value" && slices.Contains(shown, h) {
			t.Errorf("%s is on both lists", h)
		}
	}
}

// What was taken out of a specification is in no message either.
func TestRedactedMessages(t *testing.T) {
	r := redactor{}
	if r.text("as it is") != "as it is" {
		t.Error("nothing was hidden")
	}
	s := desired.Spec{Containers: []desired.Container{{Env: []desired.EnvVar{
		{Name: "A", Value: "s3cr3t!"}, {Name: "B", Value: "s3cr3t!-and-more"}, {Name: "SHORT", Value: "on"}, {Name: "EMPTY"},
		{Name: "LINES", Value: "first line\nand \"second\"\n"}, {Name: "FILE", ValueFrom: &desired.EnvSource{File: "/etc/token"}},
	}}}}
	r.spec(&s)
	if e := s.Containers[0].Env; e[0].Value != redacted || e[2].Value != redacted || e[3].Value != "" || e[5].ValueFrom.File != "/etc/token" {
		t.Errorf("%+v", e)
	}
	const hash = "0123456789abcdef"
	const said = `it said s3cr3t!-and-more, s3cr3t!, "first line\nand \"second\"\n" and: and "second"; ` +
		`in the log \"first line\\nand \\\"second\\\"\"; on it goes at revision ` + hash + ` of x` + hash
	const want = `it said REDACTED, REDACTED, "REDACTED\n" and: REDACTED; in the log \"REDACTED\"; on it goes at revision HASH-1 of x` + hash
	if got := r.text(said); got != want {
		t.Errorf("%s", got)
	}
	d := api.Description{Sandbox: api.Sandbox{Status: api.Status{Message: said, SpecHash: "fedcba9876543210", Conditions: []api.Condition{{Message: said}},
		InitContainers: []api.Container{{Message: said}}, Containers: []api.Container{{Message: said}}}},
		Notes: []string{said}, Pending: []api.Action{{Reason: said}}, Events: []events.Event{{Message: said, Revision: hash}, {}}}
	r.description(&d)
	if d.Status.SpecHash != "HASH-2" || d.Events[0].Revision != "HASH-1" || d.Events[1].Revision != "" {
		t.Errorf("hashes: %+v", d)
	}
	state := api.DebugState{NotReady: said, Sandboxes: []api.DebugSandbox{{LookError: said, Record: &api.DebugRecord{ProbeError: said, Broken: said,
		BrokenContainers: map[string]string{"app": said}, Damaged: map[string]string{"app": said}}}, {}}}
	r.state(&state)
	b, err := json.Marshal([]any{d, state})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "s3cr3t") || strings.Contains(string(b), "second") || strings.Count(string(b), "on it goes") != 13 {
		t.Errorf("%s", b)
	}
}
