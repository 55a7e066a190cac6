package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Error is a refusal, in the form in which the API sends it.
type Error struct {
	Code    int    `json:"code"` // the HTTP status
	Message string `json:"error"`
	// ExitCode is, where a command could not be run, what a shell ends with then:
	// 127 where there is no such file, 126 where it can't be executed; else 0.
	ExitCode int `json:"exitCode,omitempty"`
}

// Error returns the message alone: it says what to do.
func (e *Error) Error() string { return e.Message }

// Is makes a 404 an ErrNotFound and a 400 an ErrInvalid on the client's side
// too.
func (e *Error) Is(target error) bool {
	return e.Code == http.StatusNotFound && target == ErrNotFound ||
		e.Code == http.StatusBadRequest && target == ErrInvalid
}

func badRequest(format string, args ...any) error {
	return &Error{Code: http.StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// fail sends err in its form.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := s.refused(r.Context(), err, "method", r.Method, "path", r.URL.Path)
	if e.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, e.Code, e)
}

// refused is err in its form. What is nobody's mistake is logged with what it
// is about.
func (s *Server) refused(ctx context.Context, err error, about ...any) *Error {
	var e *Error
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &tooBig):
		e = &Error{Code: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the request is larger than %d bytes", tooBig.Limit)}
	case errors.Is(err, ErrNotFound):
		e = &Error{Code: http.StatusNotFound, Message: err.Error()}
	case errors.Is(err, ErrInvalid):
		e = &Error{Code: http.StatusBadRequest, Message: err.Error()}
	case ctx.Err() != nil:
		e = &Error{Code: http.StatusServiceUnavailable, Message: "the daemon is ending; try again once it runs"}
	default:
		e = &Error{Code: http.StatusInternalServerError, Message: err.Error()}
		s.cfg.Log.Error(err, "a request failed", about...)
	}
	return e
}

// rawJSON is sent as it is.
type rawJSON []byte

func writeJSON(w http.ResponseWriter, code int, v any) {
	b, ok := v.(rawJSON)
	if !ok {
		var err error
		if b, err = marshal(v); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b) // who is gone needs no answer
}

// marshal is json.Marshal with a line's end and without HTML's escapes: people
// read messages with < and > in them.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// streamWriter sends each piece at once, with a deadline of its own.
type streamWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	began bool
}

// begin sends the header, once, so that a client knows that it was heard
// before there is anything to send.
func (s *streamWriter) begin(contentType string) {
	if s.began {
		return
	}
	s.began = true
	s.w.Header().Set("Content-Type", contentType)
	s.w.WriteHeader(http.StatusOK)
	_ = s.rc.Flush()
}

// Write sends p.
func (s *streamWriter) Write(p []byte) (int, error) {
	s.begin("application/octet-stream")
	_ = s.rc.SetWriteDeadline(time.Now().Add(stallTime))
	n, err := s.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, s.rc.Flush()
}

// line sends v as one line of JSON.
func (s *streamWriter) line(v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = s.Write(b)
	return err
}
