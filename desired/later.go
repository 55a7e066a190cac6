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
	if why := elsewhere(t, field); why != "" {
		return why
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
		if field == "image" {
			return notYet + ": name a root directory, rootfs: {path: /srv/root}, or an OCI bundle; docs/recipes.md says how to make one of an image"
		}
		return known("image", "imagePullPolicy",
			"restoreFrom", "stdinOnce", "envFrom", "volumeDevices")
	case reflect.TypeFor[EnvSource]():
		return known("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef")
	case reflect.TypeFor[Resources]():
		return known("requests", "claims")
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

// elsewhere says of a field that a Kubernetes Pod has, or Docker, how the same is
// written here; empty: it is not, or nobody knows the field.
func elsewhere(t reflect.Type, field string) string {
	switch t {
	case reflect.TypeFor[Spec]():
		switch field {
		case "hostNetwork":
			return "is written network: {mode: host} here"
		case "securityContext":
			return "is each container's own here: write it in spec.containers[]"
		case "ports":
			return "has no place here: with network: {mode: host} what listens in the sandbox can be reached at the host's addresses"
		case "nodeSelector", "nodeName", "affinity", "tolerations", "topologySpreadConstraints", "schedulerName", "priorityClassName", "priority":
			return "has no place here: a sandbox runs on the host whose daemon reads its manifest"
		case "serviceAccountName", "serviceAccount", "automountServiceAccountToken", "imagePullSecrets", "enableServiceLinks", "dnsPolicy":
			return "has no place here: there is no cluster"
		case "runtimeClassName":
			return "is called runtime here, and is gvisor where it is left out"
		case "shareProcessNamespace", "hostPID", "hostIPC", "hostUsers":
			return "is not to be had: each container of a sandbox has its own processes, and none sees the host's"
		case "image", "command", "args", "env", "rootfs", "bundle", "volumeMounts", "resources", "livenessProbe", "readinessProbe":
			return "is a container's: write it in spec.containers[]"
		}
	case reflect.TypeFor[Container]():
		switch field {
		case "tty":
			return "is called terminal here: write terminal: true"
		case "ports":
			return "has no place here: with network: {mode: host} what listens in the sandbox can be reached at the host's addresses"
		case "environment":
			return "is called env here, a list: env: [{name: MODE, value: fast}]"
		case "entrypoint":
			return "is called command here"
		case "volumes":
			return "is the sandbox's here: write spec.volumes, and volumeMounts in the container"
		case "terminationMessagePath", "terminationMessagePolicy":
			return "has no place here: logs and events tell how a container ended"
		case "resizePolicy":
			return "has no place here: limits are changed in place"
		case "user":
			return "is written securityContext: {runAsUser: 1000, runAsGroup: 1000} here"
		}
	case reflect.TypeFor[SecurityContext]():
		if field == "allowPrivilegeEscalation" {
			return "is called noNewPrivileges here, and means the opposite: write noNewPrivileges: true for false"
		}
	}
	return ""
}
