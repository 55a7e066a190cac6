package observed

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cache is what was in records and in their directories when they were read last.
// It holds for as long as the kernel says that nothing was done to them, whoever
// may have done it: each look still asks that of each file.
type cache struct {
	now func() time.Time

	mu sync.Mutex
	m  map[string]map[string]cached // by sandbox and path
}

// cached is a Record, a ContainerRecord, or the names in a directory.
type cached struct {
	stamp stamp
	value any
}

// stamp is of one content of one file: whatever changes it changes that.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// settled is how old a change must be for the next one to have another time: the
// kernel's clock for files may stand still for as long as 10 ms.
const settled = 50 * time.Millisecond

// stampOf is what is at a path; ok is false where nobody knows, or where it has
// changed so lately that another change might not show.
func (c *cache) stampOf(path string) (s stamp, ok bool) {
	now := c.now()
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return stamp{}, false
	}
	s = stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
	return s, now.Sub(time.Unix(st.Ctim.Unix())) >= settled
}

// get is what was read at a path; stamp is for put, if nothing was, or it is
// another thing now.
func get[T any](c *cache, sandbox, path string) (value T, s stamp, ok bool) {
	s, ok = c.stampOf(path)
	if !ok {
		return value, stamp{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.m[sandbox][path]
	if !ok || held.stamp != s {
		return value, s, false
	}
	value, ok = held.value.(T)
	return value, s, ok
}

// put keeps what was read after its stamp was taken.
func (c *cache) put(sandbox, path string, s stamp, value any) {
	if s == (stamp{}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]map[string]cached{}
	}
	if c.m[sandbox] == nil {
		c.m[sandbox] = map[string]cached{}
	}
	c.m[sandbox][path] = cached{s, value}
}

func (c *cache) forget(sandbox string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, sandbox)
}

// clone shares nothing with r that anybody might change.
func (r Record) clone() Record {
	r.Fields = maps.Clone(r.Fields)
	return r
}

func (c ContainerRecord) clone() ContainerRecord {
	c.Fields = maps.Clone(c.Fields)
	c.GoferState, c.Process, c.Hooks = slices.Clone(c.GoferState), slices.Clone(c.Process), slices.Clone(c.Hooks)
	c.Objects, c.Contents = slices.Clone(c.Objects), slices.Clone(c.Contents)
	if c.Exit != nil {
		c.Exit = new(*c.Exit)
	}
	return c
}
