package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sandboxer/internal/api"
)

// target is what a NAME means.
type target struct {
	sandbox   api.Sandbox
	container string // empty: none was named
}

// find gives the target of NAME, NAME/CONTAINER, or a prefix of a container's
// id that fits only one.
func find(items []api.Sandbox, arg string) (target, error) {
	if s, ok := byName(items, arg); ok {
		return target{sandbox: s}, nil
	}
	if name, container, ok := strings.Cut(arg, "/"); ok {
		s, found := byName(items, name)
		if !found {
			return target{}, unknown(name)
		}
		var names []string
		for _, c := range s.Status.Containers {
			if c.Name == container {
				return target{s, container}, nil
			}
			names = append(names, c.Name)
		}
		if len(names) == 0 {
			return target{}, fmt.Errorf("sandbox %q has no containers; \"sandboxer describe %s\" says why", name, name)
		}
		return target{}, fmt.Errorf("sandbox %q has no container %q; it has: %s", name, container, strings.Join(names, ", "))
	}
	var found []target
	var ids []string
	for _, s := range items {
		for _, c := range s.Status.Containers {
			if c.ID != "" && c.ID == arg {
				return target{s, c.Name}, nil
			}
			if arg != "" && strings.HasPrefix(c.ID, arg) {
				found, ids = append(found, target{s, c.Name}), append(ids, c.ID)
			}
		}
	}
	switch len(found) {
	case 0:
		return target{}, unknown(arg)
	case 1:
		return found[0], nil
	}
	return target{}, fmt.Errorf("%q is the beginning of several containers' ids: %s", arg, strings.Join(ids, ", "))
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

// lookUp asks the daemon what a NAME means.
func lookUp(ctx context.Context, client *api.Client, arg string) (target, error) {
	list, err := client.List(ctx)
	if err != nil {
		return target{}, err
	}
	return find(list.Items, arg)
}

// completeNames offers the sandboxes' names to a shell.
func (c *cli) completeNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client := c.client()
	defer client.Close()
	list, err := client.List(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
