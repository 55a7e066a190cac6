package serve

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/lisafs"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, f *os.File) *journal {
	t.Helper()
	j, err := openJournal(f)
	check(t, err)
	return j
}

func given(id lisafs.FDID, path string) entry {
	return entry{id, true, object{strings.Split(path, "/"), 7, uint64(id) * 10}}
}

func closed(id lisafs.FDID) entry { return entry{id: id} }

// answer does what an exchange does to a journal.
func answer(t *testing.T, j *journal, entries ...entry) {
	t.Helper()
	check(t, j.add(entries))
	check(t, j.answering())
	check(t, j.answered())
	check(t, j.settled())
}

func same(t *testing.T, what string, got, want *journal) {
	t.Helper()
	head := want.head
	head.Before = got.head.Before // means something while an answer is sent
	if got.head != head {
		t.Errorf("%s: the header is %+v, want %+v", what, got.head, head)
	}
	equal := func(a, b object) bool {
		return slices.Equal(a.names, b.names) && a.device == b.device && a.inode == b.inode
	}
	if !maps.EqualFunc(got.open, want.open, equal) {
		t.Errorf("%s: open is %v, want %v", what, got.open, want.open)
	}
}

// What was noted is read again, whichever half it is in.
func TestJournalRoundTrip(t *testing.T) {
	f := tempFile(t)
	j := open(t, f)
	j.head.Root, j.head.Device, j.head.Inode, j.head.Generation = 1, 2, 3, 4
	answer(t, j, given(2, "a"), given(3, "a/b c/\xffd"))
	same(t, "first half", open(t, f), j)
	check(t, j.compact())
	answer(t, j, closed(2), given(9, "e"))
	j = open(t, f)
	if len(j.open) != 2 || j.head.Half != 1 || strings.Join(j.open[3].names, "|") != "a|b c|\xffd" || j.open[9].inode != 90 {
		t.Errorf("read %+v, %v", j.head, j.open)
	}
	if o, ok := j.object(1); !ok || o.inode != 3 || o.device != 2 || len(o.names) != 0 {
		t.Errorf("the root is %+v", o)
	}
	if _, ok := j.object(2); ok {
		t.Error("a closed number stands for something")
	}
}

// A log is written again once it is full of what was closed, for ever.
func TestJournalCompacts(t *testing.T) {
	f := tempFile(t)
	j := open(t, f)
	answer(t, j, given(1, "stays"))
	path := strings.Repeat("n", 4000)
	turns := 0
	for id := lisafs.FDID(2); turns < 3; id++ {
		half := j.head.Half
		answer(t, j, given(id, path))
		answer(t, j, closed(id))
		if j.head.Half != half {
			turns++
			same(t, "turned over", open(t, f), j)
		}
		if len(j.open) != 1 {
			t.Fatalf("%d are open", len(j.open))
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() > headerBytes+boundMax*boundBytes+2*halfBytes {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

// What does not fit is refused, and what did is still there.
func TestJournalFull(t *testing.T) {
	f := tempFile(t)
	j := open(t, f)
	path := strings.Repeat("n", 4000)
	id := lisafs.FDID(1)
	var err error
	for ; err == nil; id++ {
		if err = j.add([]entry{given(id, path)}); err == nil {
			check(t, j.answering())
		}
	}
	if !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	if want := halfBytes / (entryBytes + len(path)); len(j.open) != want {
		t.Errorf("%d fit, want %d", len(j.open), want)
	}
	if _, ok := j.open[id-1]; ok {
		t.Error("what did not fit counts as open")
	}
	same(t, "full", open(t, f), j)
	answer(t, j, closed(1))
	answer(t, j, given(id, path)) // there is room again
	same(t, "room again", open(t, f), j)
}

// Until a gofer says that it answers, nothing that it has written counts,
// whatever of it got into the file; and it can be taken back.
func TestJournalTorn(t *testing.T) {
	f := tempFile(t)
	j := open(t, f)
	answer(t, j, given(1, "a"), given(2, "b"))
	before := open(t, f)
	half, err := os.ReadFile(f.Name())
	check(t, err)
	check(t, j.add([]entry{given(3, "c"), closed(1)}))
	whole, err := os.ReadFile(f.Name())
	check(t, err)
	for n := len(half); n <= len(whole); n++ {
		check(t, os.WriteFile(f.Name(), whole[:n], 0o600))
		torn := open(t, f)
		same(t, fmt.Sprintf("%d bytes", n), torn, before)
		answer(t, torn, given(4, "d"))
		if got := slices.Sorted(maps.Keys(open(t, f).open)); !slices.Equal(got, []lisafs.FDID{1, 2, 4}) {
			t.Fatalf("%d bytes: then %v are open", n, got)
		}
	}
	check(t, os.WriteFile(f.Name(), whole, 0o600))
	check(t, j.answering())
	if u, err := Unsettled(f); err != nil || !u {
		t.Errorf("unsettled %v, %v while it answers", u, err)
	}
	j = open(t, f)
	if len(j.open) != 2 || j.open[3].inode != 30 {
		t.Errorf("open is %v", j.open)
	}
	check(t, j.void())
	same(t, "taken back", j, before)
	same(t, "taken back and read", open(t, f), before)
}

// So it is when the half turns over while an answer is noted.
func TestJournalVoidAfterCompaction(t *testing.T) {
	f := tempFile(t)
	j := open(t, f)
	path := strings.Repeat("n", 4000)
	answer(t, j, given(1, path))
	for j.end+entryBytes+4000 <= halfBytes {
		answer(t, j, given(2, path))
	}
	before := maps.Clone(j.open)
	check(t, j.add([]entry{given(3, path)}))
	if j.head.Half != 1 {
		t.Fatal("it did not turn over")
	}
	if got := open(t, f); len(got.open) != len(before) {
		t.Errorf("%d are open after a kill at that moment, want %d", len(got.open), len(before))
	}
	check(t, j.answering())
	check(t, j.void())
	if got := open(t, f); len(got.open) != len(before) || len(j.open) != len(before) {
		t.Errorf("%d and %d are open, want %d", len(got.open), len(j.open), len(before))
	}
}

// The states that need to be settled.
func TestUnsettled(t *testing.T) {
	f := tempFile(t)
	is := func(want bool) {
		t.Helper()
		if got, err := Unsettled(f); got != want || err != nil {
			t.Errorf("unsettled %v, %v, want %v", got, err, want)
		}
	}
	is(false) // nothing written yet
	j := open(t, f)
	for _, step := range []struct {
		do   func() error
		want bool
	}{{j.executing, false}, {j.answering, true}, {j.answered, true}, {j.settled, false}} {
		check(t, step.do())
		is(step.want)
	}
	// What can't be repeated stays so when its answer is taken back.
	check(t, j.executing())
	check(t, j.answering())
	check(t, j.void())
	if j = open(t, f); j.head.State != stateOnce {
		t.Errorf("state %b after an answer was taken back", j.head.State)
	}
	check(t, f.Truncate(10))
	is(false)
}

// A journal that makes no sense is refused or read as far as it does.
func TestJournalGarbage(t *testing.T) {
	for _, b := range [][]byte{
		bytes.Repeat([]byte{0xff}, headerBytes),
		bytes.Repeat([]byte{0xff}, headerBytes+2*halfBytes),
		bytes.Repeat([]byte{0x20}, headerBytes+100),
	} {
		f := tempFile(t)
		check(t, os.WriteFile(f.Name(), b, 0o600))
		if _, err := Unsettled(f); !errors.Is(err, ErrOtherVersion) {
			t.Error(err)
		}
		if _, err := openJournal(f); !errors.Is(err, ErrOtherVersion) {
			t.Error(err)
		}
		b[0] = journalVersion
		copy(b[1:8], make([]byte, 7))
		check(t, os.WriteFile(f.Name(), b, 0o600))
		if _, err := Unsettled(f); err != nil {
			t.Error(err)
		}
		if j, err := openJournal(f); err == nil && len(j.open) > 1 {
			t.Errorf("read %v", j.open)
		}
	}
}
