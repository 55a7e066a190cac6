package shelf

import (
	"errors"
	"os"
	"path"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"sandboxer/internal/hostpath"
	"sandboxer/internal/mountinfo"
)

// An overlay shows what is in other directories, as a file system of its own: what
// is hidden there would show in it, and what is on one shows in them.

// made is what overlays are made of, by their device.
type made map[string]layers

// layers are what one is made of.
type layers struct {
	places []Place
	// unsure is an option that can be read in two ways: whatever it shows may be there.
	unsure string
}

// Answers says why a path can't be looked at without waiting for ever; nil: all can.
type Answers func(name string) error

// layersIn is what overlays are made of that show in a tree.
func layersIn(trees []Tree, mounts []mountinfo.Mount, answers Answers) (made, error) {
	all := made{}
	for _, t := range trees {
		if t.Own {
			continue
		}
		where, err := Locate(t.File, mounts)
		if err != nil {
			continue // it is not of this process's mounts, and was looked at when it was
		}
		real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(int(t.File.Fd())))
		if err != nil {
			return nil, err
		}
		for _, m := range mounts {
			if m.Device != where.Device && !within(real, m.Point) {
				continue
			}
			if err := all.add(m, mounts, answers); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// made is what overlays are made of that a sandbox shows already.
func (l *Look) made(shown []mountinfo.Mount) (made, error) {
	all := made{}
	for _, m := range shown {
		if _, ok := treeOf(m.Point); !ok {
			continue
		}
		if err := all.add(m, l.mounts, l.guard.Answers); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// add looks what a mount is made of, if it is an overlay. One may be made of another.
func (all made) add(m mountinfo.Mount, mounts []mountinfo.Mount, answers Answers) error {
	if _, known := all[m.Device]; known || m.Kind != "overlay" {
		return nil
	}
	is := layers{unsure: m.Unsure()}
	dirs, _ := m.Layers(false)
	for _, dir := range dirs {
		p, err := placeAt(dir, mounts, answers)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		is.places = append(is.places, *p)
		deeper, _, err := p.beneath(mounts, answers, false)
		if err != nil {
			return err
		}
		is.places = append(is.places, deeper...)
		for _, o := range mounts {
			if o.Kind == "overlay" && slices.ContainsFunc(append(deeper, *p), func(p Place) bool { return p.Device == o.Device }) && is.unsure == "" {
				is.unsure = o.Unsure()
			}
		}
	}
	all[m.Device] = is
	return nil
}

// inLayers are the places of what is at a place of an overlay, in what that is made
// of; none where it is no overlay's.
func (p Place) inLayers(mounts []mountinfo.Mount, answers Answers) (places []Place, err error) {
	for _, m := range mounts {
		if m.Kind != "overlay" || m.Device != p.Device {
			continue
		}
		dirs, _ := m.Layers(false)
		for _, dir := range dirs {
			in, err := placeAt(path.Join(dir, p.At), mounts, answers)
			if err != nil {
				return nil, err
			}
			if in != nil {
				places = append(places, *in)
			}
		}
		break
	}
	return places, nil
}

// beneath are the places at which something on an overlay is, or would be, in what that
// is made of, or only in what is written to; all says that there are no others.
func (p Place) beneath(mounts []mountinfo.Mount, answers Answers, upper bool) (places []Place, all bool, err error) {
	i := slices.IndexFunc(mounts, func(m mountinfo.Mount) bool { return m.Kind == "overlay" && m.Device == p.Device })
	if i < 0 {
		return nil, true, nil
	}
	dirs, all := mounts[i].Layers(upper)
	for _, dir := range dirs {
		if answers != nil && answers(dir) != nil {
			all = false
			continue
		}
		layer, err := placeAt(dir, mounts, answers)
		if err != nil {
			return nil, false, err
		}
		if layer == nil {
			all = false
			continue
		}
		in := Place{Device: layer.Device, At: path.Join(layer.At, p.At), UUID: layer.UUID}
		if shown := in.shown(mounts); shown != nil {
			in = *shown
		}
		deeper, allOf, err := in.beneath(mounts, answers, upper)
		if err != nil {
			return nil, false, err
		}
		places, all = append(append(places, in), deeper...), all && allOf
	}
	return places, all, nil
}

// placeAt is where a path leads; nil: nowhere, in this process's mount namespace.
func placeAt(name string, mounts []mountinfo.Mount, answers Answers) (*Place, error) {
	f, err := hostpath.Resolver{Link: hostpath.AnyLink, Answers: answers}.Open(name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := Locate(f.File, mounts)
	if err != nil {
		return nil, err
	}
	return &p, nil
}
