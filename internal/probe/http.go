package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sandboxer/desired"
)

const (
	// userAgent is what HTTP servers are told.
	userAgent = "sandboxer-probe"
	// answerMax is how much is read of an answer, head and body, in bytes.
	answerMax = 64 << 10
	// redirectsMax is how often one may be sent on.
	redirectsMax = 10
)

// get asks as the kubelet does: certificates are not checked, redirects are
// followed to the same host only, and a status of 200 to 399 is a success.
func get(ctx context.Context, c Container, h *desired.HTTPGetAction) error {
	host := h.Host
	if host == "" {
		host = "127.0.0.1"
	}
	u, err := url.Parse(h.Path)
	if err != nil {
		u = &url.URL{Path: h.Path} // no escapes, then
	}
	u.Scheme, u.Host = strings.ToLower(h.Scheme), net.JoinHostPort(host, strconv.Itoa(int(h.Port)))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	setHeaders(req, h.HTTPHeaders)
	client := http.Client{Transport: single{c, h.Host}, CheckRedirect: sameHost}
	resp, err := client.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // the rest is what the manifest says
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text := &beginning{}
	_, _ = io.Copy(text, io.LimitReader(resp.Body, outputMax)) // the status counts
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP status %d%s", resp.StatusCode, text.quote())
	}
	return nil
}

func setHeaders(req *http.Request, headers []desired.HTTPHeader) {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "*/*")
	seen := map[string]bool{}
	for _, h := range headers {
		name := http.CanonicalHeaderKey(h.Name)
		if name == "Host" {
			req.Host = h.Value
			continue
		}
		if !seen[name] {
			req.Header.Del(name) // a default
		}
		seen[name] = true
		req.Header.Add(name, h.Value)
	}
}

// sameHost leaves a redirect to another host as the answer that it is.
func sameHost(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	case len(via) >= redirectsMax:
		return fmt.Errorf("%d redirects in a row", redirectsMax)
	}
	return nil
}

// single makes a connection for each request. Package net/http's own would
// write into the daemon's log what a server likes to say unasked.
type single struct {
	c    Container
	host string
}

// RoundTrip implements http.RoundTripper.
func (s single) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	port, err := strconv.Atoi(req.URL.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[req.URL.Scheme]
	}
	conn, err := s.c.Dial(ctx, s.host, port)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if req.URL.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: req.URL.Hostname()})
	}
	req.Close = true
	err = req.Write(conn)
	answer := bufio.NewReader(io.LimitReader(conn, answerMax))
	var resp *http.Response
	for err == nil && (resp == nil || resp.StatusCode < 200) { // what precedes an answer is none
		resp, err = http.ReadResponse(answer, req)
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	resp.Body = body{resp.Body, conn, stop}
	return resp, nil
}

// body ends its connection with itself.
type body struct {
	io.ReadCloser
	conn net.Conn
	stop func() bool
}

func (b body) Close() error {
	b.stop()
	return errors.Join(b.ReadCloser.Close(), b.conn.Close())
}
