package sentry

import (
	"reflect"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/limits"
	"gvisor.dev/gvisor/runsc/boot"
)

// further gives a command that was not started by the container, but by exec
// from outside, the umask and the limits of resources that the container's own
// command began with. gVisor's exec knows neither: it takes the infra
// container's limits, and always one umask. The task has not run yet, and it
// and its task set are locked; who makes it holds the loader's lock.
func further(t *kernel.Task, l *boot.Loader) {
	if t.Origin != kernel.OriginExec || !first(t) {
		return
	}
	spec := specOf(l, t.ContainerID())
	if spec == nil || spec.Process == nil {
		return
	}
	if mask := spec.Process.User.Umask; mask != nil {
		t.FSContext().SwapUmask(uint(*mask) & 0o777)
	}
	for _, r := range spec.Process.Rlimits {
		if resource, ok := limits.FromLinuxResourceName[r.Type]; ok {
			t.ThreadGroup().Limits().SetUnchecked(resource, limits.Limit{Cur: r.Soft, Max: r.Hard})
		}
	}
}

// specOf is the specification of a container; nil where there is none. The
// loader's lock must be held.
func specOf(l *boot.Loader, containerID string) *specs.Spec {
	for name, id := range *member[map[string]string](l, "containerIDs") {
		if id == containerID {
			return (*member[map[string]*specs.Spec](l, "containerSpecs"))[name]
		}
	}
	return nil
}

// first says that exec itself has made a task, and not one that it made. The
// kernel's own questions would take locks that are held.
func first(t *kernel.Task) bool {
	return *member[*kernel.Task](t, "parent") == nil && *member[*kernel.Task](t.ThreadGroup(), "leader") == t
}

// member is a field that gVisor keeps to itself. A version of gVisor that has
// it no more makes this panic, in the first test that runs a command.
func member[T any](of any, name string) *T {
	field := reflect.ValueOf(of).Elem().FieldByName(name)
	if !field.IsValid() || field.Type() != reflect.TypeFor[T]() {
		panic("sentry: gVisor has another " + name)
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}
