// Package deps pins what the packages under construction import.
package deps

import (
	_ "github.com/containerd/cgroups/v3/cgroup1"
	_ "github.com/containerd/cgroups/v3/cgroup2"
	_ "github.com/coreos/go-systemd/v22/daemon"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/go-logr/logr"
	_ "github.com/go-logr/logr/slogr"
	_ "github.com/google/renameio/v2"
	_ "github.com/invopop/jsonschema"
	_ "github.com/opencontainers/runtime-spec/specs-go"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "go.uber.org/goleak"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sys/unix"
	_ "gvisor.dev/gvisor/runsc/cli/maincli"
	_ "k8s.io/apimachinery/pkg/api/resource"
	_ "pgregory.net/rapid"
	_ "sigs.k8s.io/yaml"
)
