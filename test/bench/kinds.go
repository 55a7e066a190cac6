package main

import (
	"fmt"
	"slices"
	"strings"

	"sandboxer/gofer"
)

// kinds are processes by what they are.
type kinds struct {
	// sentries and gofers come with their descendants: those of a sentry are
	// the address spaces of its applications.
	sentries, gofers [][]int
	// keepers have no descendants.
	keepers [][]int
	// others are all that remain: the daemon itself and its other helpers.
	others []int
}

// classify sorts processes and all their descendants.
func classify(roots ...int) (k kinds, err error) {
	for _, pid := range roots {
		name, err := argv0(pid)
		if err != nil {
			return k, err
		}
		var groups *[][]int
		switch {
		case name == "runsc-sandbox":
			groups = &k.sentries
		case strings.HasSuffix(name, "-gofer"):
			groups = &k.gofers
		case strings.HasPrefix(name, gofer.KeeperArg0):
			groups = &k.keepers
		}
		if groups != nil {
			group, err := descendants(pid)
			if err != nil {
				return k, err
			}
			*groups = append(*groups, append([]int{pid}, group...))
			continue
		}
		k.others = append(k.others, pid)
		below, err := children(pid)
		if err != nil {
			return k, err
		}
		more, err := classify(below...)
		if err != nil {
			return k, err
		}
		k.sentries = append(k.sentries, more.sentries...)
		k.gofers = append(k.gofers, more.gofers...)
		k.keepers = append(k.keepers, more.keepers...)
		k.others = append(k.others, more.others...)
	}
	return k, nil
}

// enclosed makes sure that sentries, gofers and keepers are in the sandboxes'
// cgroups: what is measured there counts all of them.
func (o *ours) enclosed() error {
	k, err := classify(o.cmd.Process.Pid)
	if err != nil {
		return err
	}
	inside, err := o.tree.pids("")
	if err != nil {
		return err
	}
	if len(k.sentries) == 0 || len(k.gofers) == 0 {
		return fmt.Errorf("the daemon has %d sentries and %d gofers below it", len(k.sentries), len(k.gofers))
	}
	for _, group := range slices.Concat(k.sentries, k.gofers, k.keepers) {
		for _, pid := range group {
			if !slices.Contains(inside, pid) {
				return fmt.Errorf("process %d of a sandbox is not in its cgroup", pid)
			}
		}
	}
	return nil
}

// helpers lists the daemon and those of its helpers that are not in its
// sandboxes' cgroups, and the keepers, which are.
func (o *ours) helpers() (outside, keepers []int, err error) {
	k, err := classify(o.cmd.Process.Pid)
	if err != nil {
		return nil, nil, err
	}
	inside, err := o.tree.pids("")
	if err != nil {
		return nil, nil, err
	}
	outside = slices.DeleteFunc(k.others, func(pid int) bool { return slices.Contains(inside, pid) })
	return outside, slices.Concat(k.keepers...), nil
}
