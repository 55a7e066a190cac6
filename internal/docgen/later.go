package main

import "fmt"

// inSpec and inContainer give the document that holds a line of YAML in its
// spec, or in its container.
func inSpec(line string) func(string) string {
	return func(field string) string {
		return document(fmt.Sprintf(line, field), "")
	}
}

func inContainer(line string) func(string) string {
	return func(field string) string {
		return document("", fmt.Sprintf(line, field))
	}
}

func document(inSpec, inContainer string) string {
	return `apiVersion: sandboxer/v1
kind: Sandbox
metadata: {name: x}
spec:
  ` + inSpec + `
  containers:
  - name: x
    rootfs: {path: /x}
    command: [/x]
    ` + inContainer + "\n"
}
