package desired

import (
	"reflect"
	"slices"
)

const notYet = "not supported yet"

// later returns why a field that the manifest format or a Kubernetes Pod has,
// and the Go type t lacks, is rejected; "" for a field that nobody knows. Such
// a field must never be ignored: what it asks for would silently not be done.
func later(t reflect.Type, field string) string {
	known := func(names ...string) string {
		if slices.Contains(names, field) {
			return notYet
		}
		return ""
	}
	switch t {
	case reflect.TypeFor[Network]():
		return known("ports")
	case reflect.TypeFor[EmptyDir]():
		return known("medium")
	case reflect.TypeFor[Volume]():
		return known("configMap", "secret", "projected", "downwardAPI", "persistentVolumeClaim", "ephemeral", "csi", "image",
			"nfs", "iscsi", "fc", "cephfs", "glusterfs", "rbd", "flexVolume", "gitRepo")
	case reflect.TypeFor[Container]():
		if field == "tty" {
			return "is called terminal here: write terminal: true"
		}
		return known("image", "imagePullPolicy",
			"restoreFrom", "stdinOnce", "envFrom", "volumeDevices")
	case reflect.TypeFor[EnvSource]():
		return known("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef")
	case reflect.TypeFor[Resources]():
		return known("requests", "claims")
	case reflect.TypeFor[Limits]():
		return known("ephemeral-storage")
	case reflect.TypeFor[VolumeMount]():
		return known("subPath", "subPathExpr", "mountPropagation")
	case reflect.TypeFor[Hooks]():
		if field == "createContainer" || field == "startContainer" {
			return "not supported by gvisor: it runs no hooks inside a container's namespaces; prestart, createRuntime, poststart and poststop run on the host"
		}
	case reflect.TypeFor[Lifecycle]():
		return known("postStart")
	case reflect.TypeFor[Probe]():
		return known("grpc")
	case reflect.TypeFor[PreStop]():
		return known("tcpSocket")
	case reflect.TypeFor[SecurityContext]():
		return known("privileged", "runAsNonRoot", "seccompProfile", "appArmorProfile", "seLinuxOptions", "procMount")
	}
	return ""
}
