package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// Type tells what is worth a look from what is not.
type Type string

// The types.
const (
	Normal  Type = "Normal"
	Warning Type = "Warning"
)

// Event is one thing that happened to a sandbox.
type Event struct {
	Time      time.Time `json:"time"`
	Sandbox   string    `json:"sandbox"`             // empty: the daemon as a whole
	Container string    `json:"container,omitempty"` // empty: the sandbox as a whole
	Type      Type      `json:"type"`
	Reason    string    `json:"reason"`           // one CamelCase word
	Action    string    `json:"action,omitempty"` // what the daemon did, empty where it did nothing
	Message   string    `json:"message"`          // a sentence: why
	// Revision is the specHash of the declaration that is in force from here on;
	// empty where none has come into force.
	Revision string `json:"revision,omitempty"`
	// Took is how long the action took; 0 where there was none. In JSON it is
	// in time.Duration's notation ("35ms").
	Took time.Duration `json:"-"`
}

type plain Event

type wire struct {
	plain
	Took string `json:"took,omitempty"`
}

// MarshalJSON writes Took as text.
func (e Event) MarshalJSON() ([]byte, error) {
	w := wire{plain: plain(e)}
	if e.Took != 0 {
		w.Took = e.Took.String()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Event(w.plain)
	if w.Took != "" {
		d, err := time.ParseDuration(w.Took)
		if err != nil {
			return fmt.Errorf("field took: %w", err)
		}
		e.Took = d
	}
	return nil
}
