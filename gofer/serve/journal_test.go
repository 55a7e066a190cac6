package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/lisafs"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// load is the journal as the next gofer reads it.
func load(t *testing.T, f *os.File) *journal {
	t.Helper()
	j, err := loadJournal(t, f)
	check(t, err)
	return j
}

func loadJournal(t *testing.T, f *os.File) (*journal, error) {
	t.Helper()
	j, err := mapJournal(f)
	check(t, err)
	t.Cleanup(func() { check(t, unix.Munmap(j.b)) })
	return j, j.load()
}

func given(id lisafs.FDID, path string) entry {
	return entry{id, true, object{strings.Split(path, "/"), 7, uint64(id) * 10}}
}

func closed(id lisafs.FDID) entry { return entry{id: id} }

func write(t *testing.T, f *os.File, b []byte, at int64) {
	t.Helper()
	_, err := f.WriteAt(b, at)
	check(t, err)
}

// answer does what an exchange does to a journal.
func answer(t *testing.T, j *journal, entries ...entry) {
	t.Helper()
	check(t, j.add(entries))
	j.answering()
	j.answered()
	j.settled()
}

// snapshot is what a journal tells.
type snapshot struct {
	progress
	root, generation lisafs.FDID
	open             map[lisafs.FDID]object
}

func tells(j *journal) snapshot {
	p := j.progress()
	if p.state&stateSending == 0 {
		p.before = 0 // means something while an answer is sent
	}
	return snapshot{p, j.root(), j.generation(), maps.Clone(j.open)}
}

func same(t *testing.T, what string, got *journal, want snapshot) {
	t.Helper()
	if now := tells(got); !reflect.DeepEqual(now, want) {
		t.Errorf("%s: it tells %+v, want %+v", what, now, want)
	}
}

// What was noted is read again, whichever half it is in.
func TestJournalRoundTrip(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	j.mounted(lisafs.Inode{ControlFD: 1, Stat: lisafs.Statx{DevMajor: 2, DevMinor: 5, Ino: 3}})
	j.nextGeneration()
	answer(t, j, given(2, "a"), given(3, "a/b c/\xffd"))
	same(t, "first half", load(t, f), tells(j))
	check(t, j.compact())
	answer(t, j, closed(2), given(9, "e"))
	j = load(t, f)
	if len(j.open) != 2 || j.progress().half != 1 || strings.Join(j.open[3].names, "|") != "a|b c|\xffd" || j.open[9].inode != 90 {
		t.Errorf("read %+v, %v", j.progress(), j.open)
	}
	if o, ok := j.object(1); !ok || o.inode != 3 || o.device != 2<<32+5 || len(o.names) != 0 {
		t.Errorf("the root is %+v", o)
	}
	if _, ok := j.object(2); ok {
		t.Error("a closed number stands for something")
	}
}

// A log is written again once it is full of what was closed, for ever.
func TestJournalCompacts(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	answer(t, j, given(1, "stays"))
	path := strings.Repeat("n", 4000)
	turns := 0
	for id := lisafs.FDID(2); turns < 3; id++ {
		half := j.progress().half
		answer(t, j, given(id, path))
		answer(t, j, closed(id))
		if j.progress().half != half {
			turns++
			same(t, "turned over", load(t, f), tells(j))
		}
		if len(j.open) != 1 {
			t.Fatalf("%d are open", len(j.open))
		}
	}
	if info, err := f.Stat(); err != nil || info.Size() > journalBytes {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
}

// What does not fit is refused, and what did is still there.
func TestJournalFull(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	path := strings.Repeat("n", 4000)
	id := lisafs.FDID(1)
	var err error
	for ; err == nil; id++ {
		if err = j.add([]entry{given(id, path)}); err == nil {
			j.answering()
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
	same(t, "full", load(t, f), tells(j))
	answer(t, j, closed(1))
	answer(t, j, given(id, path)) // there is room again
	same(t, "room again", load(t, f), tells(j))
}

// Until a gofer says that it answers, nothing that it has written counts,
// whatever of it got into the file; and it can be taken back.
func TestJournalTorn(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	answer(t, j, given(1, "a"), given(2, "b"))
	before := tells(load(t, f))
	half, err := os.ReadFile(f.Name())
	check(t, err)
	check(t, j.add([]entry{given(3, "c"), closed(1)}))
	whole, err := os.ReadFile(f.Name())
	check(t, err)
	first, last := 0, len(whole)
	for half[first] == whole[first] {
		first++
	}
	for half[last-1] == whole[last-1] {
		last--
	}
	for n := first; n <= last; n++ {
		write(t, f, half, 0)
		write(t, f, whole[first:n], int64(first))
		torn := load(t, f)
		same(t, fmt.Sprintf("%d bytes", n), torn, before)
		answer(t, torn, given(4, "d"))
		if got := slices.Sorted(maps.Keys(load(t, f).open)); !slices.Equal(got, []lisafs.FDID{1, 2, 4}) {
			t.Fatalf("%d bytes: then %v are open", n, got)
		}
	}
	write(t, f, whole, 0)
	j.answering()
	if p, err := ReadProgress(f); err != nil || !p.Unsettled || p.Served != 1 {
		t.Errorf("%+v, %v while it answers the second", p, err)
	}
	j = load(t, f)
	if len(j.open) != 2 || j.open[3].inode != 30 {
		t.Errorf("open is %v", j.open)
	}
	check(t, j.void())
	same(t, "taken back", j, before)
	same(t, "taken back and read", load(t, f), before)
}

// So it is when the half turns over while an answer is noted.
func TestJournalVoidAfterCompaction(t *testing.T) {
	f := tempFile(t)
	j := load(t, f)
	path := strings.Repeat("n", 4000)
	answer(t, j, given(1, path))
	for j.end+entryBytes+4000 <= halfBytes {
		answer(t, j, given(2, path))
	}
	before := maps.Clone(j.open)
	check(t, j.add([]entry{given(3, path)}))
	if j.progress().half != 1 {
		t.Fatal("it did not turn over")
	}
	if got := load(t, f); len(got.open) != len(before) {
		t.Errorf("%d are open after a kill at that moment, want %d", len(got.open), len(before))
	}
	j.answering()
	check(t, j.void())
	if got := load(t, f); len(got.open) != len(before) || len(j.open) != len(before) {
		t.Errorf("%d and %d are open, want %d", len(got.open), len(j.open), len(before))
	}
}

// The states that need to be settled.
func TestUnsettled(t *testing.T) {
	f := tempFile(t)
	is := func(want bool) {
		t.Helper()
		if got, err := ReadProgress(f); got.Unsettled != want || err != nil {
			t.Errorf("unsettled %v, %v, want %v", got.Unsettled, err, want)
		}
	}
	is(false) // nothing written yet
	j := load(t, f)
	for _, step := range []struct {
		do   func()
		want bool
	}{{j.executing, false}, {j.answering, true}, {j.answered, true}, {j.settled, false}} {
		step.do()
		is(step.want)
	}
	// What can't be repeated stays so when its answer is taken back.
	j.executing()
	j.answering()
	check(t, j.void())
	if j = load(t, f); j.progress().state != stateOnce {
		t.Errorf("state %b after an answer was taken back", j.progress().state)
	}
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
		if _, err := ReadProgress(f); !errors.Is(err, ErrOtherVersion) {
			t.Error(err)
		}
		if _, err := loadJournal(t, f); !errors.Is(err, ErrOtherVersion) {
			t.Error(err)
		}
		b[0] = journalVersion
		copy(b[1:8], make([]byte, 7))
		write(t, f, b, 0)
		if _, err := ReadProgress(f); err != nil {
			t.Error(err)
		}
		if j, err := loadJournal(t, f); err == nil && len(j.open) > 1 {
			t.Errorf("read %v", j.open)
		}
	}
}

// Numbers from which a gofer could not count on are refused, wherever they are.
func TestJournalOfNoGofersNumbers(t *testing.T) {
	for what, spoil := range map[string]func(j *journal, least lisafs.FDID){
		"root":       func(j *journal, least lisafs.FDID) { j.mounted(lisafs.Inode{ControlFD: least}) },
		"number":     func(j *journal, least lisafs.FDID) { answer(t, j, given(least, "a")) },
		"generation": func(j *journal, least lisafs.FDID) { j.word(atGeneration).Store(uint64(least>>generationBits - 1)) },
	} {
		for _, least := range []lisafs.FDID{scratch, math.MaxUint64} {
			f := tempFile(t)
			spoil(load(t, f), least)
			if _, err := loadJournal(t, f); err != errNumber {
				t.Errorf("%s from %d on: %v", what, least, err)
			}
			f = tempFile(t)
			spoil(load(t, f), scratch-1)
			if _, err := loadJournal(t, f); err != nil {
				t.Errorf("%s before %d: %v", what, least, err)
			}
		}
	}
}

// header1 is the header of a journal as version 1 wrote it.
func header1(j *journal, state uint64) []byte {
	p := j.progress()
	b := make([]byte, headerBytes)
	for i, v := range []uint64{1, j.word(atDevice).Load(), j.word(atInode).Load(), uint64(j.root()), uint64(j.generation()), p.half, p.end, p.before, state} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return b
}

// What a gofer of an earlier sandboxer has left is read as if it were of this
// one, also where the first that read it was killed over it.
func TestJournalOfVersion1(t *testing.T) {
	for state := range uint64(8) {
		f := tempFile(t)
		j := load(t, f)
		j.mounted(lisafs.Inode{ControlFD: 9, Stat: lisafs.Statx{Ino: 3}})
		j.nextGeneration()
		answer(t, j, given(1, "a"), given(2, "b/c"))
		check(t, j.compact())
		answer(t, j, given(4, "d"))
		check(t, j.bound(7, 70))
		check(t, j.add([]entry{closed(2)}))
		j.answering()
		p := j.progress()
		p.state = state
		j.setProgress(p)
		want := tells(j)

		old := header1(j, state)
		write(t, f, old, 0)
		check(t, f.Truncate(logStart+halfBytes+int64(p.end))) // it had no more
		if p, err := ReadProgress(f); err != nil || p.Unsettled != (state&(stateSending|stateSent) != 0) {
			t.Errorf("%+v, %v in state %b", p, err, state)
		}
		same(t, "first", load(t, f), want)
		write(t, f, old[:8], 0) // the version comes last
		same(t, "again", load(t, f), want)
		if all, err := BoundSockets(f); err != nil || !slices.Equal(all, []Bound{{7, 70}}) {
			t.Errorf("bound are %v, %v", all, err)
		}
	}
}

// What a journal tells fits into one word.
func TestProgressWord(t *testing.T) {
	for _, p := range []progress{
		{}, {state: 7, half: 1, end: halfBytes, before: halfBytes}, {half: 1}, {end: halfBytes}, {before: halfBytes}, {state: stateOnce, end: 1, before: 2},
	} {
		if got := progressOf(p.word()); got != p {
			t.Errorf("%+v is read as %+v", p, got)
		}
	}
	if p := progressOf(math.MaxUint64); p.end > halfBytes || p.before > halfBytes || p.half > 1 {
		t.Errorf("garbage is read as %+v", p)
	}
}
