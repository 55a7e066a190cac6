package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sandboxer/desired"
	"sandboxer/internal/hostpath"
	"sandboxer/internal/oci"
)

// onHost says what of a sandbox's manifest this host would not let be carried
// out: bundles, roots, volumes, files with values, checkpoints and hooks. answers
// says why a path can't be looked at without waiting for ever.
func onHost(s *desired.Sandbox, answers func(path string) error) (problems []desired.Problem) {
	add := func(path, format string, args ...any) {
		problems = append(problems, desired.Problem{File: s.Source, Path: path, Message: fmt.Sprintf(format, args...), Name: s.Name})
	}
	exists := func(at, path, kind string) {
		info, err := stat(path, answers)
		switch {
		case err != nil:
			add(at, "%v", err)
		case strings.HasPrefix(kind, "Directory") && !info.IsDir():
			add(at, "%s is not a directory", path)
		case strings.HasPrefix(kind, "File") && !info.Mode().IsRegular():
			add(at, "%s is not a regular file", path)
		}
	}
	if from := s.Spec.RestoreFrom; from != "" {
		exists("spec.restoreFrom", from, "Directory")
	}
	for i, v := range s.Spec.Volumes {
		at := fmt.Sprintf("spec.volumes[%d].hostPath.path", i)
		if h := v.HostPath; h != nil && !strings.HasSuffix(h.Type, "OrCreate") {
			exists(at, h.Path, h.Type)
		}
	}
	for list, containers := range map[string][]desired.Container{"initContainers": s.Spec.InitContainers, "containers": s.Spec.Containers} {
		for i := range containers {
			c, at := &containers[i], fmt.Sprintf("spec.%s[%d]", list, i)
			if c.Rootfs != nil {
				exists(at+".rootfs.path", c.Rootfs.Path, "Directory")
			}
			if c.Bundle != "" {
				for _, fault := range inBundle(c, s.Spec.Hostname, answers) {
					add(at+".bundle", "%s", fault)
				}
			}
			for k, e := range c.Env {
				if e.ValueFrom != nil {
					exists(fmt.Sprintf("%s.env[%d].valueFrom.file", at, k), e.ValueFrom.File, "File")
				}
			}
			for point, hooks := range map[string][]desired.Hook{"prestart": c.Hooks.Prestart, "createRuntime": c.Hooks.CreateRuntime,
				"poststart": c.Hooks.Poststart, "poststop": c.Hooks.Poststop} {
				for k, h := range hooks {
					exists(fmt.Sprintf("%s.hooks.%s[%d].path", at, point, k), h.Path, "File")
				}
			}
		}
	}
	return problems
}

func stat(path string, answers func(path string) error) (os.FileInfo, error) {
	if err := answers(path); err != nil {
		return nil, err
	}
	return os.Stat(path)
}

// inBundle is every reason for which a bundle would be refused. Whether its hooks
// may run the daemon's configuration file says.
func inBundle(c *desired.Container, hostname string, answers func(path string) error) []string {
	spec, err := oci.Read(hostpath.Resolver{Answers: answers, Link: hostpath.AnyLink}, c.Bundle, oci.Manifest{Container: c, Hostname: hostname, Hooks: true})
	var refused *oci.Refused
	switch {
	case errors.As(err, &refused):
		var faults []string
		for _, fault := range refused.Faults {
			faults = append(faults, refused.File+": "+fault)
		}
		return faults
	case err != nil:
		return []string{err.Error()}
	}
	var faults []string
	if info, err := stat(spec.Root.Path, answers); err != nil {
		faults = append(faults, err.Error())
	} else if !info.IsDir() {
		faults = append(faults, spec.Root.Path+" is not a directory")
	}
	for i, m := range spec.Mounts {
		if !oci.IsBind(m) {
			continue
		}
		if _, err := stat(m.Source, answers); err != nil {
			faults = append(faults, fmt.Sprintf("%s: mounts[%d] (%s): %v", filepath.Join(c.Bundle, "config.json"), i, m.Destination, err))
		}
	}
	return faults
}
