package observed_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"sandboxer/observed"
)

// watching runs a Watcher until stop is called or the test ends.
func watching(t *testing.T) (w *observed.Watcher, stop func()) {
	t.Helper()
	w, err := observed.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
	t.Cleanup(stop)
	return w, stop
}

func TestWatcherTellsOfEachEndOnce(t *testing.T) {
	w, stop := watching(t)
	const n = 100
	ended := make(chan observed.Process, 2*n)
	ends := map[observed.Process]func(){}
	for range n {
		p, end := child(t)
		ends[p] = end
		if err := w.Watch(p, func() { ended <- p }); err != nil {
			t.Fatal(err)
		}
	}
	half := map[observed.Process]bool{}
	for p, end := range ends {
		if len(half) == n/2 {
			break
		}
		half[p] = true
		end()
	}
	for range n / 2 {
		p := <-ended
		if !half[p] {
			t.Errorf("%v has not ended, or was told of twice", p)
		}
		delete(half, p)
	}
	stop()
	if len(ended) != 0 {
		t.Errorf("%d ends too many", len(ended))
	}
}

func TestWatcherForgets(t *testing.T) {
	w, _ := watching(t)
	forgotten, endForgotten := child(t)
	replaced, endReplaced := child(t)
	last, endLast := child(t)
	told := make(chan string, 10)
	watch := func(p observed.Process, name string) {
		t.Helper()
		if err := w.Watch(p, func() { told <- name }); err != nil {
			t.Fatal(err)
		}
	}
	watch(forgotten, "forgotten")
	watch(replaced, "first")
	watch(replaced, "second")
	watch(last, "last")
	w.Unwatch(forgotten)
	w.Unwatch(observed.Process{PID: 1, StartTime: 1}) // never watched
	for _, step := range []struct {
		end  func()
		want string
	}{{endForgotten, ""}, {endReplaced, "second"}, {endLast, "last"}} {
		step.end()
		if step.want == "" {
			continue
		}
		if got := <-told; got != step.want {
			t.Errorf("told of %q; want %q", got, step.want)
		}
	}
}

// What is watched is asked through its pidfd, and says the same as who looks it
// up; also once it has ended and nobody has told of it yet.
func TestWatcherLiveness(t *testing.T) {
	w, err := observed.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // which releases the descriptors
		ctx, stop := context.WithCancel(context.Background())
		stop()
		_ = w.Run(ctx)
	})
	p, end := child(t)
	other, endOther := child(t)
	if err := w.Watch(p, func() { t.Error("told of") }); err != nil {
		t.Fatal(err)
	}
	dead := zombie(t)
	if err := w.Watch(dead, func() {}); err != nil {
		t.Fatal(err)
	}
	want := func(p observed.Process, want observed.Liveness) {
		t.Helper()
		if got, err := w.Liveness(p); got != want || err != nil {
			t.Errorf("%v: %v, %v; want %v", p, got, err, want)
		}
	}
	want(observed.Process{}, observed.None)
	want(p, observed.Alive)
	want(other, observed.Alive)
	want(reused(p), observed.Gone)
	want(dead, observed.Gone)
	end()
	endOther()
	want(p, observed.Gone)
	want(other, observed.Gone)
	w.Unwatch(p)
	want(p, observed.Gone)
}

func TestWatcherTellsOfTheDead(t *testing.T) {
	w, _ := watching(t)
	alive, _ := child(t)
	for _, p := range []observed.Process{zombie(t), reused(alive), {PID: 1 << 30, StartTime: 1}} {
		told := make(chan struct{})
		if err := w.Watch(p, func() { close(told) }); err != nil {
			t.Fatal(err)
		}
		<-told
	}
}

func TestWatcherFromItsOwnCallback(t *testing.T) {
	w, _ := watching(t)
	first, endFirst := child(t)
	second, endSecond := child(t)
	told := make(chan struct{})
	err := w.Watch(first, func() {
		w.Unwatch(first)
		if err := w.Watch(second, func() { close(told) }); err != nil {
			t.Error(err)
		}
		endSecond()
	})
	if err != nil {
		t.Fatal(err)
	}
	endFirst()
	<-told
}

// A descriptor that is closed by one callback and opened again for another
// process must not bring that one the news of its predecessor.
func TestWatcherKeepsDescriptorsApart(t *testing.T) {
	w, err := observed.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	a, endA := child(t)
	b, endB := child(t)
	var alive []observed.Process
	for range 2 {
		p, _ := child(t)
		alive = append(alive, p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := 0
	swap := func() {
		told++
		w.Unwatch(a)
		w.Unwatch(b)
		for _, p := range alive {
			if err := w.Watch(p, func() { t.Errorf("%v lives", p) }); err != nil {
				t.Error(err)
			}
		}
		cancel() // Run still goes through the ends that it has in hand
	}
	for _, p := range []observed.Process{a, b} {
		if err := w.Watch(p, swap); err != nil {
			t.Fatal(err)
		}
	}
	endA()
	endB()
	if err := w.Run(ctx); err != nil || told != 1 {
		t.Errorf("Run = %v, %d told", err, told)
	}
}

func TestWatcherReleasesItsDescriptors(t *testing.T) {
	before := descriptors(t)
	w, stop := watching(t)
	p, _ := child(t)
	q, _ := child(t)
	withChildren := descriptors(t)
	for range 10 {
		for _, p := range []observed.Process{p, q, reused(p)} {
			if err := w.Watch(p, func() {}); err != nil {
				t.Fatal(err)
			}
		}
		w.Unwatch(p)
	}
	stop()
	if err := w.Watch(p, func() {}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Watch after the end = %v", err)
	}
	if after := descriptors(t); after != withChildren-1 {
		t.Errorf("%d descriptors before, %d with children and the watcher, %d after", before, withChildren, after)
	}
}

func TestWatcherSaysWhatItCannotWatch(t *testing.T) {
	w, _ := watching(t)
	p, _ := child(t)
	var err error
	noDescriptors(t, func() { err = w.Watch(p, func() {}) })
	if !errors.Is(err, unix.EMFILE) {
		t.Errorf("Watch = %v; want EMFILE", err)
	}
}
