package desired

import (
	"reflect"
	"slices"
	"testing"
)

// Every field of a container is one that init containers have too, or one that
// is refused there (TestDecodeRejectsSpec): none is ignored.
func TestInitContainersHaveNoOtherFields(t *testing.T) {
	shared := []string{"name", "rootfs", "bundle", "command", "args", "workingDir", "env", "resources", "oomScoreAdj", "volumeMounts", "securityContext", "hooks",
		"stdin", "terminal", "consoleSocket", "pidFile"}
	refused := []string{"restartPolicy", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "userLog"}
	for f := range reflect.TypeFor[Container]().Fields() {
		if name := fieldName(f); !slices.Contains(shared, name) && !slices.Contains(refused, name) {
			t.Errorf("may an init container have %q? Carry it out, or refuse it in check_init.go", name)
		}
	}
}
