package api

import (
	"context"
	"io"
	"net/url"
	"strconv"
)

// DebugState says how the daemon itself stands.
func (c *Client) DebugState(ctx context.Context) (v DebugState, err error) {
	return v, c.ask(ctx, "GET", "/v1/debug/state", nil, &v)
}

// DebugLog copies what the daemon keeps of its own log to w.
func (c *Client) DebugLog(ctx context.Context, w io.Writer) error {
	return c.copy(ctx, "/v1/debug/log", w)
}

// Profile copies one of Profiles to w; debug above 0 makes text of those that can
// be. It takes so many seconds where it is one over a time; 0: as the daemon likes.
func (c *Client) Profile(ctx context.Context, name string, debug, seconds int, w io.Writer) error {
	count := ""
	if seconds > 0 {
		count = strconv.Itoa(seconds)
	}
	text := ""
	if debug > 0 {
		text = strconv.Itoa(debug)
	}
	return c.copy(ctx, "/v1/debug/pprof/"+url.PathEscape(name)+"?"+query("seconds", count, "debug", text), w)
}

func (c *Client) copy(ctx context.Context, path string, w io.Writer) error {
	body, err := c.do(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, cutReader{body})
	return ended(ctx, err)
}
