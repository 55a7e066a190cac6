package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sandboxer/internal/api"
)

// target is what a NAME means.
type target struct {
	sandbox   api.Sandbox
	container string // empty: none was named
}

// find gives the target of NAME, NAME/CONTAINER, or a container's ID. Of a NAME
// and of an ID the beginning will do where it fits only one.
func find(items []api.Sandbox, arg string) (target, error) {
	if s, ok := byName(items, arg); ok { // that of a rejected document can hold a slash
		return target{sandbox: s}, nil
	}
	if name, container, ok := strings.Cut(arg, "/"); ok {
		s, err := findSandbox(items, name)
		if err != nil {
			return target{}, err
		}
		return findContainer(s, container)
	}
	if strings.Contains(arg, ".") {
		return findID(items, arg)
	}
	s, err := findSandbox(items, arg)
	return target{sandbox: s}, err
}

// findSandbox finds a sandbox by its name or the beginning of it.
func findSandbox(items []api.Sandbox, name string) (api.Sandbox, error) {
	if s, ok := byName(items, name); ok {
		return s, nil
	}
	var found []api.Sandbox
	var names []string
	for _, s := range items {
		if name != "" && strings.HasPrefix(s.Name, name) {
			found, names = append(found, s), append(names, s.Name)
		}
	}
	switch len(found) {
	case 0:
		return api.Sandbox{}, unknown(name)
	case 1:
		return found[0], nil
	}
	return api.Sandbox{}, fmt.Errorf("%q is the beginning of several names: %s", name, strings.Join(names, ", "))
}

func findContainer(s api.Sandbox, container string) (target, error) {
	var names []string
	for _, c := range s.Status.All() {
		if c.Name == container {
			return target{s, container}, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return target{}, fmt.Errorf("sandbox %q has no containers; \"sandboxer describe %s\" says why", s.Name, s.Name)
	}
	return target{}, fmt.Errorf("sandbox %q has no container %q; it has: %s", s.Name, container, strings.Join(names, ", "))
}

// findID finds a container by its ID or the beginning of it.
func findID(items []api.Sandbox, id string) (target, error) {
	var found []target
	var ids []string
	for _, s := range items {
		for _, c := range s.Status.All() {
			if c.ID == id {
				return target{s, c.Name}, nil
			}
			if strings.HasPrefix(c.ID, id) {
				found, ids = append(found, target{s, c.Name}), append(ids, c.ID)
			}
		}
	}
	switch len(found) {
	case 0:
		return target{}, unknown(id)
	case 1:
		return found[0], nil
	}
	return target{}, fmt.Errorf("%q is the beginning of several containers' ids: %s", id, strings.Join(ids, ", "))
}

func byName(items []api.Sandbox, name string) (api.Sandbox, bool) {
	i := slices.IndexFunc(items, func(s api.Sandbox) bool { return s.Name == name })
	if i < 0 {
		return api.Sandbox{}, false
	}
	return items[i], true
}

func unknown(name string) error {
	return fmt.Errorf("there is no sandbox %q; \"sandboxer get\" lists those there are", name)
}

// findWhole is find for a command that changes something: names count as a whole,
// and so does each part of an ID, whose last ones may be left out. What begins
// with the name is another, which may have come meanwhile.
func findWhole(items []api.Sandbox, arg string) (target, error) {
	t, err := find(items, arg)
	if err != nil {
		return target{}, err
	}
	if name, _, _ := strings.Cut(arg, "/"); t.sandbox.Name == name || t.sandbox.Name == arg {
		return t, nil
	} else if !strings.Contains(arg, ".") {
		return target{}, fmt.Errorf("there is no sandbox %q; %s begins so, and what changes something takes whole names", name, t.sandbox.Name)
	}
	id := containerOf(t.sandbox, t.container).ID
	if !strings.HasPrefix(id+".", arg+".") {
		return target{}, fmt.Errorf("there is no container %q; %s begins so, and what changes something takes whole names", arg, id)
	}
	return t, nil
}

// lookUpWhole is lookUp for a command that changes something.
func lookUpWhole(ctx context.Context, client *api.Client, arg string) (target, error) {
	list, err := client.List(ctx)
	if err != nil {
		return target{}, err
	}
	return findWhole(list.Items, arg)
}

// lookUp asks the daemon what a NAME means.
func lookUp(ctx context.Context, client *api.Client, arg string) (target, error) {
	list, err := client.List(ctx)
	if err != nil {
		return target{}, err
	}
	return find(list.Items, arg)
}
