package gvisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gvisor.dev/gvisor/pkg/sentry/state/checkpointfiles"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/runsc/boot"
)

// checkpointFiles are what a sentry writes a checkpoint into, in the order in
// which it wants them.
var checkpointFiles = []string{
	checkpointfiles.StateFileName, checkpointfiles.PagesMetadataFileName, checkpointfiles.PagesFileName,
}

// Checkpoint writes the whole sandbox into new files of dir. The sandbox must
// be paused, and stays so, also where this fails. There is no deadline but
// ctx's.
func (s Sentry) Checkpoint(ctx context.Context, dir string) error {
	var files []*os.File
	defer func() { closeAll(files) }()
	for _, name := range checkpointFiles {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	// Without Resume the sentry ends itself afterwards, also where it has
	// failed. With it the pause before is not undone: pauses add up.
	args := struct {
		Metadata      map[string]string `json:"metadata"`
		HavePagesFile bool              `json:"have_pages_file"`
		Resume        bool
	}{statefile.CompressionLevelNone.ToMetadata(), true, true}
	s.Timeout = 0
	if err := s.call(ctx, boot.ContMgrCheckpoint, &args, files, nil); err != nil {
		return err
	}
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("writing %s: %w", f.Name(), err)
		}
	}
	return nil
}

// RestoreContainer gives a sandbox that is being restored one of its
// containers. The last one sets the sandbox going, so it takes as long as
// reading the checkpoint does: there is no deadline but ctx's.
func (s Sentry) RestoreContainer(ctx context.Context, a Start) error {
	s.Timeout = 0
	if err := s.addContainer(ctx, boot.ContMgrRestoreSubcontainer, a); err != nil {
		return fmt.Errorf("restoring container %s: %w", a.ID, err)
	}
	return nil
}

// Restored waits until a sandbox that is restored from a checkpoint runs and
// takes containers like any other, and says why it could not be restored.
func (s Sentry) Restored(ctx context.Context) error {
	err := s.call(ctx, boot.ContMgrWaitRestore, nil, nil, nil)
	if err != nil && strings.HasSuffix(err.Error(), "state=started") {
		return nil // its sentry is of the gVisor before this one
	}
	return err
}

// Executed names the commands that run in a container beside its own and were
// not started by it, but by exec from outside.
func (s Sentry) Executed(ctx context.Context, id string) ([]string, error) {
	var list []struct {
		PID     int    `json:"pid"`
		Parent  int    `json:"ppid"`
		Command string `json:"cmd"`
	}
	if err := s.call(ctx, boot.ContMgrProcesses, &id, nil, &list); err != nil {
		return nil, err
	}
	var names []string
	first := 0 // the container's own command has no parent either, and came first
	for _, p := range list {
		switch {
		case p.Parent != 0:
		case first == 0:
			first = p.PID
		default:
			names = append(names, p.Command)
		}
	}
	return names, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
