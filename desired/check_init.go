package desired

import "fmt"

// setInitDefaults leaves restart policy and life cycle as they are: an init
// container has none of its own, and what is said of them is refused.
func setInitDefaults(c *Container, literal map[string]bool) {
	lifecycle := c.Lifecycle
	setContainerDefaults(c, "", literal)
	c.Lifecycle = lifecycle
}

// initContainers checks them like others, and for what only others can have.
func (c *checker) initContainers(list []Container, names map[string]bool, volumes []string) {
	for i := range list {
		at, ct := fmt.Sprintf("spec.initContainers[%d]", i), &list[i]
		c.name(at+".name", ct.Name, names)
		switch p := ct.RestartPolicy; p {
		case "":
		case Always:
			c.add(at+".restartPolicy", "an init container that runs on beside the containers is %s; one that ends leaves it out", notYet)
		default:
			c.add(at+".restartPolicy", "an init container follows spec.restartPolicy: leave it out")
		}
		if ct.Lifecycle != (Lifecycle{}) {
			c.add(at+".lifecycle", "an init container has none: it ends by itself")
		}
		for field, p := range map[string]*Probe{"livenessProbe": ct.LivenessProbe, "readinessProbe": ct.ReadinessProbe, "startupProbe": ct.StartupProbe} {
			if p != nil {
				c.add(at+"."+field, "an init container has none: it ends by itself")
			}
		}
		if ct.UserLog != "" {
			c.add(at+".userLog", "an init container has none: say it of a container, whose file is about all of the sandbox")
		}
		checked := *ct
		checked.Lifecycle.StopSignal = defaultSignal
		c.container(at, &checked, volumes)
	}
}
