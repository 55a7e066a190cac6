package sentry

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/usage"
)

// An instance of a container shares its number with no other, none of its
// siblings', nor with gVisor's own.
func TestNumber(t *testing.T) {
	seen := map[uint32]string{}
	for _, id := range []string{"web", "web.app.1", "web.app.2", "web.app.23", "web.ap.1", "web.1.1", "web.app-1.1", "other.app.1", "x", "x.x.x"} {
		n := number(id)
		if other, ok := seen[n]; ok {
			t.Errorf("%s and %s have the same number", id, other)
		}
		if seen[n] = id; n < 1<<31 {
			t.Errorf("%s has gVisor's number %d", id, n)
		}
	}
}

// An answer is of now, also where gVisor would not look again for a long time because
// the last look took long, and where another one is under way.
func TestUseIsNeverOld(t *testing.T) {
	if err := usage.Init(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("memory", 0)
	if err != nil {
		t.Fatal(err)
	}
	mf, err := pgalloc.NewMemoryFile(os.NewFile(uintptr(fd), "memory"), pgalloc.MemoryFileOpts{DisableIMAWorkAround: true})
	if err != nil {
		t.Fatal(err)
	}
	defer mf.Destroy()
	const size = 1 << 20
	take := func(id string) {
		t.Helper()
		fr, err := mf.Allocate(size, pgalloc.AllocOpts{Kind: usage.Anonymous, MemCgID: number(id)})
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := mf.MapInternal(fr, hostarch.Write)
		if err != nil {
			t.Fatal(err)
		}
		for ; !blocks.IsEmpty(); blocks = blocks.Tail() {
			for i, page := 0, blocks.Head().ToSlice(); i < len(page); i += hostarch.PageSize {
				page[i] = 1
			}
		}
	}
	ids := []string{"web.app.1", "web.other.1", "web.none.1"}
	numbers := map[string]map[uint32]bool{ids[0]: {number(ids[0]): true}, ids[1]: {number(ids[1]): true}}
	for n := uint64(1); n <= 3; n++ {
		take(ids[0])
		if n == 1 {
			take(ids[1])
		}
		used, err := usedBy(mf, ids, numbers)
		if err != nil || used[ids[0]] != n*size || used[ids[1]] != size || used[ids[2]] != 0 || len(used) != 3 {
			t.Errorf("after %d times %d bytes they use %v, %v", n, size, used, err)
		}
		if err := mf.UpdateUsage(nil); err != nil {
			t.Fatal(err)
		}
		*member[time.Time](mf, "nextCommitScan") = time.Now().Add(time.Hour)
	}
}
