package sealed

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Text is a string of any bytes, as a path of the host's is, that JSON gives back as it
// was: encoding/json puts others in the place of those that are no UTF-8. All that is
// UTF-8 is written as every string.
type Text string

// other begins what is written in another way. No path has it.
const other = "\x00"

// MarshalText implements encoding.TextMarshaler.
func (t Text) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(t)) && !strings.HasPrefix(string(t), other) {
		return []byte(t), nil
	}
	return []byte(other + hex.EncodeToString([]byte(t))), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Text) UnmarshalText(b []byte) error {
	if rest, is := bytes.CutPrefix(b, []byte(other)); is {
		decoded, err := hex.DecodeString(string(rest))
		if err != nil {
			return fmt.Errorf("a string that is no UTF-8: %w", err)
		}
		b = decoded
	}
	*t = Text(b)
	return nil
}
