package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
)

// CheckpointRequest asks for a checkpoint of a running sandbox.
type CheckpointRequest struct {
	// Path is an absolute directory of the daemon's host that is not there yet,
	// or empty; its parent is there.
	Path string `json:"path"`
}

// Checkpoint is one that was written.
type Checkpoint struct {
	Sandbox string `json:"sandbox"`
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"` // all its files together
}

// checkpoint takes as long as writing all of a sandbox's memory does, so it has
// no more of a deadline than a stream has.
func (s *Server) checkpoint(r *http.Request) streamer {
	return func(ctx context.Context, w *streamWriter) error {
		var req CheckpointRequest
		dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&req); err != nil {
			return badRequest(`the request is not understood: %v; want {"path": "/srv/checkpoints/web"}`, err)
		}
		if !filepath.IsAbs(req.Path) {
			return badRequest("path %q is relative; the daemon needs an absolute one", req.Path)
		}
		sb, err := s.find(r.PathValue("name"))
		if err != nil {
			return err
		}
		done, err := s.cfg.Backend.Checkpoint(ctx, sb.Name, filepath.Clean(req.Path))
		if err != nil {
			return err
		}
		w.begin("application/json")
		return w.line(done)
	}
}

// Checkpoint writes a checkpoint of a running sandbox into an absolute path of
// the daemon's host. It ends when the checkpoint is on disk.
func (c *Client) Checkpoint(ctx context.Context, name, path string) (done Checkpoint, err error) {
	body, err := c.do(ctx, "POST", "/v1/sandboxes/"+url.PathEscape(name)+"/checkpoint", CheckpointRequest{path})
	if err != nil {
		return done, err
	}
	defer body.Close()
	return done, ended(ctx, json.NewDecoder(cutReader{body}).Decode(&done))
}
