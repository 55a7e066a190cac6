package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"sandboxer/internal/api"
	"sandboxer/internal/events"
	"sandboxer/internal/mountinfo"
)

// dump gathers a bug report. What can't be had is noted and left out.
type dump struct {
	name                      string // of the folder in the archive
	stateDir, dataDir, config string // where the daemon does not say it
	withEnv                   bool

	redactor redactor
	now      time.Time
	files    []dumpFile
	missing  []string
}

type dumpFile struct {
	name    string
	content []byte
}

// dumpTime is how long each question to the daemon may take: it may be the one that
// hangs. After mostLate that took so long no sandbox is asked for any more.
const (
	dumpTime = 5 * time.Second
	mostLate = 3
)

// dumpMost bounds each file that is read.
const dumpMost = 16 << 20

func (d *dump) gather(ctx context.Context, client *api.Client, now time.Time) {
	d.now, d.redactor.withEnv = now, d.withEnv
	versions := struct {
		Client api.Version  `json:"client"`
		Daemon *api.Version `json:"daemon"` // null: it does not answer
	}{Client: buildVersion()}
	var state *api.DebugState
	// The specifications come first: they tell what is to be left out of all else.
	answers := d.try("the daemon's version", func() error {
		return ask(ctx, func(ctx context.Context) error {
			v, err := client.Version(ctx)
			if err == nil {
				versions.Daemon = &v
			}
			return err
		})
	})
	if answers {
		d.try("the state of loop and queues", func() error {
			return ask(ctx, func(ctx context.Context) error {
				s, err := client.DebugState(ctx)
				if err == nil {
					state = &s
				}
				return err
			})
		})
		if state != nil {
			d.stateDir, d.dataDir, d.config = state.Settings.StateDir, state.Settings.DataDir, state.Settings.ConfigFile
			for _, part := range state.Missing {
				d.missing = append(d.missing, fmt.Sprintf("of the state, %s: that part of the daemon does not answer", part))
			}
		}
	}
	told := answers && d.try("the status of sandboxes", func() error { return d.sandboxes(ctx, client) })
	if !told {
		d.manifests()
	}
	if state == nil {
		d.try("the records", d.storedRecords)
	}
	if !answers || !d.try("the events", func() error { return d.events(ctx, client) }) {
		d.try("the events on disk", d.storedEvents)
	}
	if state != nil {
		d.redactor.state(state)
		d.add("state.json", state)
	}
	if answers {
		d.try("the daemon's log", func() error {
			var log bytes.Buffer
			err := ask(ctx, func(ctx context.Context) error { return client.DebugLog(ctx, &log) })
			if err == nil {
				d.text("log.txt", d.redactor.text(log.String()))
			}
			return err
		})
		for name, profile := range map[string]struct {
			of    string
			debug int
		}{"goroutines.txt": {"goroutine", 2}, "heap.pb.gz": {"heap", 0}} {
			d.try(name, func() error {
				var b bytes.Buffer
				err := ask(ctx, func(ctx context.Context) error { return client.Profile(ctx, profile.of, profile.debug, 0, &b) })
				if err == nil {
					d.text(name, b.String())
				}
				return err
			})
		}
	}
	d.try("the configuration", d.configuration)
	if state != nil {
		d.text("mountinfo.txt", strings.Join(state.Mounts, "\n")+"\n")
	} else {
		d.try("the mounts", func() error {
			lines, err := mountinfo.Lines(mountinfo.Concerns(d.stateDir, d.dataDir))
			d.text("mountinfo.txt", strings.Join(lines, "\n")+"\n")
			return err
		})
	}
	d.add("version.json", versions)
	d.add("host.json", hostFacts())
	d.text("README.txt", d.readme())
	slices.SortFunc(d.files, func(a, b dumpFile) int { return cmp.Compare(a.name, b.name) })
}

// ask gives a question its time.
func ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, dumpTime)
	defer cancel()
	return question(ctx)
}

// try notes what can't be had, and says whether it could.
func (d *dump) try(what string, get func() error) bool {
	err := get()
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", dumpTime)
	}
	if err != nil {
		d.missing = append(d.missing, fmt.Sprintf("%s: %v", what, err))
	}
	return err == nil
}

func (d *dump) text(name, content string) {
	d.files = append(d.files, dumpFile{name, []byte(content)})
}

func (d *dump) add(name string, v any) {
	var b bytes.Buffer
	d.try(name, func() error { return printValue(&b, v, false) })
	d.text(name, b.String())
}

// sandboxes takes what the daemon says of each sandbox, and the accepted manifests
// with it.
func (d *dump) sandboxes(ctx context.Context, client *api.Client) error {
	var list api.List
	err := ask(ctx, func(ctx context.Context) (err error) { list, err = client.List(ctx); return err })
	if err != nil {
		return err
	}
	var all []api.Description
	late, unknown := 0, false
	for i, s := range list.Items {
		var of api.Description
		err := ask(ctx, func(ctx context.Context) (err error) { of, err = client.Describe(ctx, s.Name); return err })
		if errors.Is(err, api.ErrNotFound) {
			continue // it was removed meanwhile, or is no sandbox but a rejected document
		}
		if !d.try(fmt.Sprintf("sandbox %q", s.Name), func() error { return err }) {
			unknown = true
			if late++; late == mostLate && i+1 < len(list.Items) {
				d.missing = append(d.missing, fmt.Sprintf("%d more sandboxes", len(list.Items)-i-1))
				break
			}
			continue
		}
		d.redactor.spec(of.Spec)
		of.Events = []events.Event{} // all are in a file of their own
		all = append(all, of)
	}
	if unknown {
		d.manifests() // what is said of these, too, may have their values
	}
	for i := range list.Items {
		d.redactor.sandbox(&list.Items[i])
	}
	d.add("sandboxes.json", list)
	for i := range all {
		d.redactor.description(&all[i])
		d.add("sandboxes/"+fileName(all[i].Name)+".json", all[i])
	}
	return nil
}

// fileName makes a name in the archive of what may be a document's path.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, name)
}

func (d *dump) events(ctx context.Context, client *api.Client) error {
	var list []events.Event
	err := ask(ctx, func(ctx context.Context) (err error) { list, err = client.Events(ctx, ""); return err })
	if err != nil {
		return err
	}
	d.redactor.events(list)
	d.add("events.json", api.EventList{Items: list})
	return nil
}

// configuration takes the configuration file as it is understood, without comments.
func (d *dump) configuration() error {
	if d.config == "" {
		return nil // the daemon reads none
	}
	b, err := readAnswering(d.config)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s: all settings have their defaults", d.config)
	}
	if err != nil {
		return err
	}
	var v any
	if err := yaml.Unmarshal(b, &v); err != nil {
		return err
	}
	d.add("config.json", v)
	return nil
}

func (d *dump) readme() string {
	var b strings.Builder
	fmt.Fprintf(&b, "A bug report of sandboxer, gathered at %s.\n\n", d.now.Format(time.RFC3339))
	b.WriteString("Left out, and " + redacted + " in their place: values of hooks' variables and of headers, and the\ncontent of \"files\" volumes; values that are in files were never read.\n")
	if d.withEnv {
		b.WriteString("Literal values of containers' variables ARE in it, as --with-env was given.\n")
	} else {
		b.WriteString("So are literal values of containers' variables. Such values, of six characters or more, were taken out\nof messages, too.\n")
	}
	b.WriteString("Hashes of specifications are HASH-1 and so on: a value could be guessed by them.\n")
	b.WriteString("Commands, arguments, paths, labels and names are in it, what programs, hooks and probes have said in messages,\nand what these quote of documents that were rejected. Values that were declared once and are no more are not\nlooked for: read it before you give it away.\n\nNot in it:\n")
	for _, m := range d.missing {
		fmt.Fprintf(&b, "- %s\n", d.redactor.text(m))
	}
	if len(d.missing) == 0 {
		b.WriteString("- nothing is missing\n")
	}
	return b.String()
}

// write writes the archive.
func (d *dump) write(w io.Writer) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, f := range d.files {
		h := &tar.Header{Name: d.name + "/" + f.name, Mode: 0o600, Size: int64(len(f.content)), ModTime: d.now.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}
