package logs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// carrierEnv makes this program what TestKilledCarrier kills: it carries on
// with web.app.1 of the state and data directories that it names.
const carrierEnv = "SANDBOXER_TEST_CARRIER"

func carrier(dirs string) {
	state, data, _ := strings.Cut(dirs, ":")
	l, err := New(Config{StateDir: state, DataDir: data, MaxFile: killFile, MaxFiles: killFiles})
	if err == nil {
		err = l.Adopt("web", "app", "web.app.1")
	}
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is gone
}

const (
	killFile  = 256 << 10 // small, so that rotation is among what is interrupted
	killFiles = 400
)

// What a container writes as fast as it can, while what carries it is killed
// again and again, is in the log to the last line, and once.
func TestKilledCarrier(t *testing.T) {
	kills := 30
	if testing.Short() {
		kills = 10
	}
	l, err := New(Config{StateDir: t.TempDir(), DataDir: t.TempDir(), MaxFile: killFile, MaxFiles: killFiles})
	if err != nil {
		t.Fatal(err)
	}
	id, out, errs := start(t, l, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var writers sync.WaitGroup
	var written [len(streams)]int
	for i, f := range []*os.File{out, errs} {
		writers.Go(func() {
			line := make([]byte, 0, 100)
			for n := 1; !stop.Load(); n++ {
				line = append(line[:0], streams[i]...)
				line = strconv.AppendInt(append(line, ' '), int64(n), 10)
				line = append(line, " and some more, as a line has\n"...)
				if _, err := f.Write(line); err != nil {
					t.Error(err)
					return
				}
				if written[i] = n; n%1000 == 0 {
					time.Sleep(time.Millisecond) // load, and not more than is kept
				}
			}
		})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range kills {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), carrierEnv+"="+l.cfg.StateDir+":"+l.cfg.DataDir)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		said, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "<nil>\n" {
			t.Errorf("it says %q, %v", line, err)
		}
		time.Sleep(time.Duration(random.IntN(15_000)) * time.Microsecond) // the dice, not a wait
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		stdin.Close()
	}
	stop.Store(true)
	last := open(t, l.cfg) // and the writers get rid of what they still have
	if err := last.Adopt("web", "app", id); err != nil {
		t.Fatal(err)
	}
	writers.Wait()
	finish(t, last, id)

	var log bytes.Buffer
	if err := last.Read(t.Context(), "web", "app", all, &log); err != nil {
		t.Fatal(err)
	}
	var seen [len(streams)]int
	for line := range strings.Lines(log.String()) {
		stream, rest, _ := strings.Cut(line, " ")
		i := stdout
		if stream == streams[stderr] {
			i = stderr
		}
		if want := fmt.Sprintf("%s %d and some more, as a line has\n", streams[i], seen[i]+1); line != want {
			t.Fatalf("%q %q where %q should be", stream, rest, want)
		}
		seen[i]++
	}
	if seen != written {
		t.Errorf("%v lines were written, and %v are in the log", written, seen)
	}
	t.Logf("%v lines, %d bytes", seen, log.Len())
	if last.sinks[key{"web", "app"}] != nil {
		t.Error("the log is still open")
	}
}
