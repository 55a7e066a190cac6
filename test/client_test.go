package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// request sends a request over the daemon's socket.
func (w *world) request(ctx context.Context, method, path string) (*http.Response, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", w.socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://sandboxer"+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// get returns a sandbox as it is now; false where there is none.
func (w *world) get(name string) (s sandbox, ok bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	resp, err := w.request(ctx, "GET", "/v1/sandboxes/"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return s, false
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("getting %s: %s, %v", name, resp.Status, err)
	}
	return s, true
}

// errDone ends a watch from inside.
var errDone = errors.New("done")

// watch calls fn for every sandbox as it is and then for every change, until
// fn returns an error.
func (w *world) watch(ctx context.Context, fn func(sandbox) error) error {
	resp, err := w.request(ctx, "GET", "/v1/sandboxes?watch=1")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var s sandbox
		if err := dec.Decode(&s); err != nil {
			return err
		}
		if err := fn(s); err != nil {
			return err
		}
	}
}

// wait follows a sandbox until it is as wanted, and returns it.
func (w *world) wait(name, what string, wanted check) (seen sandbox) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.watch(ctx, func(s sandbox) error {
		if s.Name != name {
			return nil
		}
		if seen = s; !s.Deleted && wanted(s) {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		b, _ := json.MarshalIndent(seen, "", "  ")
		w.t.Fatalf("waiting for %s to be %s: %v; it is %s", name, what, err, b)
	}
	return seen
}

// running waits until what is declared runs.
func (w *world) running(name string) sandbox {
	w.t.Helper()
	return w.wait(name, "running", running)
}

// gone waits until nothing is known of a sandbox.
func (w *world) gone(name string) {
	w.t.Helper()
	if !w.until(func() bool { _, known := w.get(name); return !known }) {
		s, _ := w.get(name)
		w.t.Fatalf("waiting for %s to be gone: it is %+v", name, s)
	}
}

// until looks at every change whether ok holds. A sandbox that goes in the
// moment before a watch begins is not told of, so a watch is begun anew from
// time to time.
func (w *world) until(ok func() bool) bool {
	w.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		resp, err := w.request(ctx, "GET", "/v1/sandboxes?watch=1")
		if err != nil && ctx.Err() != nil {
			cancel()
			continue // it is a slow moment
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for lines := bufio.NewReader(resp.Body); err == nil; _, err = lines.ReadString('\n') {
			if ok() {
				cancel()
				resp.Body.Close()
				return true
			}
		}
		cancel()
		resp.Body.Close()
	}
	return false
}

// clear takes all manifests away and waits until nothing is left of them.
func (w *world) clear() {
	w.t.Helper()
	entries, err := os.ReadDir(w.manifests)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(w.manifests, e.Name())); err != nil {
			w.t.Fatal(err)
		}
	}
	// What the daemon has not looked at yet is in no list, but in its plan.
	left := func() bool {
		list := w.list()
		for _, s := range list {
			if s.has("DeletionHeld") {
				w.ok("confirm-deletions")
				break
			}
		}
		return len(list) == 0 && w.calm()
	}
	if !w.until(left) {
		w.t.Errorf("after the manifests were removed there are: %s", w.ok("get", "-o", "json"))
	}
}

// calm says whether the daemon has nothing to do. A sandbox that is just being made or
// ended may be one of which it can't tell.
func (w *world) calm() bool {
	w.t.Helper()
	r := w.run("plan", "-o", "json")
	return r.code == 0 && !strings.Contains(r.out, `"sandbox"`)
}

// comesToRest waits until the daemon has done what is to be done. A sandbox runs before
// that: its scores follow, for one.
func (w *world) comesToRest() {
	w.t.Helper()
	if !poll(w.calm) {
		w.t.Fatalf("there is always something to do: %+v", w.run("plan", "-o", "json"))
	}
}

// list returns every sandbox.
func (w *world) list() []sandbox {
	w.t.Helper()
	var l struct {
		Items []sandbox `json:"items"`
	}
	w.json(&l, "get", "-o", "json")
	return l.Items
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// run runs a command of the client.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.command(w.program(args...))
}

func (w *world) program(args ...string) *exec.Cmd { return exec.Command(w.binary, args...) }

func (w *world) command(cmd *exec.Cmd) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "SANDBOXER_SOCKET="+w.socket)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("%v: %v %v\n%s%s", cmd.Args, ctx.Err(), err, out.String(), errs.String())
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// ok runs a command that must succeed and returns what it printed.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.t.Fatalf("sandboxer %v ended with %d: %s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// json runs a command and decodes what it prints.
func (w *world) json(v any, args ...string) {
	w.t.Helper()
	out := w.ok(args...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		w.t.Fatalf("sandboxer %v: %v in %s", args, err, out)
	}
}

// said follows a container's log until a line is, or begins with, text, and
// returns all lines up to there. who is NAME or NAME/CONTAINER.
func (w *world) said(who, text string) []string {
	w.t.Helper()
	return w.saidTimes(who, text, 1)
}

// saidTimes is said for the n-th such line. What is followed ends with the
// daemon, or when the container has ended for good; it may be run again.
func (w *world) saidTimes(who, text string, n int) (lines []string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		if lines = w.follow(ctx, who, text, n); len(lines) > 0 && strings.HasPrefix(lines[len(lines)-1], text) &&
			count(lines, text) == n {
			return lines
		}
	}
	w.t.Fatalf("%s did not say %q %d times but %q", who, text, n, lines)
	return nil
}

// count says how many lines begin with text.
func count(lines []string, text string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, text) {
			n++
		}
	}
	return n
}

// follow returns a container's log up to the n-th line that begins with text,
// or all of it.
func (w *world) follow(ctx context.Context, who, text string, n int) (lines []string) {
	w.t.Helper()
	name, container, _ := strings.Cut(who, "/")
	resp, err := w.request(ctx, "GET", fmt.Sprintf("/v1/sandboxes/%s/logs?follow=1&container=%s", name, container))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("the log of %s: %s %s", who, resp.Status, b)
	}
	for s := bufio.NewScanner(resp.Body); n > 0 && s.Scan(); {
		lines = append(lines, s.Text())
		if strings.HasPrefix(s.Text(), text) {
			n--
		}
	}
	return lines
}

// within fails the test if fn takes longer than d: for calls that must return
// whatever happens. What holds one up holds up the next, too; a busy machine does
// not hold up all of a few.
func (w *world) within(d time.Duration, what string, fn func()) {
	w.t.Helper()
	var took []time.Duration
	for range 5 {
		begin := time.Now()
		fn()
		took = append(took, time.Since(begin))
		if took[len(took)-1] <= d {
			return
		}
	}
	w.t.Errorf("%s took %v, each more than %s", what, took, d)
}
