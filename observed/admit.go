package observed

import (
	"errors"
	"fmt"
	"time"
)

// Prune forgets what is kept of sandboxes that have no records. From then on records
// are believed also where the disk of their spares is full.
func (r *Records) Prune() error {
	names, err := r.List()
	if err != nil {
		return err
	}
	return errors.Join(r.spares.prune(names), r.spares.begin())
}

// Admit has a sandbox's records believed from now on that are not signed, as those
// of an earlier version, or where the key or what is known of generations was lost.
// It comes before anybody else reads them.
//
// all takes those that are not signed too, and else only signed ones whose last
// generation nobody knows. holds says what the kernel has against a sandbox's
// record, and, with c, a container's; sure wants it to know of the record's
// processes, instead of having nothing against them. It returns which records were
// admitted, by path in the sandbox's directory.
func (r *Records) Admit(name string, all bool, holds func(rec *Record, c *ContainerRecord, sure bool) error) (admitted []string, err error) {
	strict, err := r.Load(name)
	if err != nil {
		return nil, err
	}
	if all {
		// An earlier version knows of no spare, and may have removed what it is of.
		if err := r.spares.forget(name); err != nil {
			return nil, err
		}
	}
	doubtful := *r
	doubtful.unsigned, doubtful.unknown, doubtful.cache = all, true, &cache{now: time.Now}
	l, err := doubtful.Load(name)
	if err != nil || l.Record == nil {
		return nil, err
	}
	own := map[string]bool{}
	note := func(file string, there bool) {
		own[file] = there && (strict.Damaged[file] == "" || l.Damaged[file] != "")
	}
	note(sandboxRecord, strict.Record != nil)
	for _, list := range [][]ContainerRecord{strict.Containers, strict.Servers} {
		for _, c := range list {
			note(containerRecord(c.Name), c.ID != "") // of a server that can't be used there is the name alone
		}
	}
	var errs []error
	admit := func(file string, c *ContainerRecord) {
		var err error
		if !own[file] {
			err = holds(l.Record, c, !all)
		}
		if err == nil && (all || !own[file]) {
			err = r.saveAgain(l, file)
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s of sandbox %q, which this daemon did not write, is not believed: %w", file, name, err))
		case !own[file]:
			admitted = append(admitted, file)
		}
	}
	admit(sandboxRecord, nil)
	for _, list := range [][]ContainerRecord{l.Containers, l.Servers} {
		for i := range list {
			if list[i].ID != "" {
				admit(containerRecord(list[i].Name), &list[i])
			}
		}
	}
	return admitted, errors.Join(errs...)
}
