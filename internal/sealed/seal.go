package sealed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// The seal is the last member of an object, so that a reader that knows nothing
// of it passes it over, and nobody has to parse what it covers.
const (
	sealHead = `,"checksum":"`
	sealTail = `"}`
	sumLen   = 32 // hexadecimal digits
	sealLen  = len(sealHead) + sumLen + len(sealTail)
)

// errChecksum is what a file that was changed after it was written answers.
var errChecksum = errors.New("its checksum does not match: it was damaged, or changed by somebody who did not remove \"checksum\"")

// Seal returns a JSON object of one member at least, as json.Marshal writes it,
// with a checksum.
func Seal(object []byte) []byte {
	body := bytes.TrimSuffix(object, []byte("}"))
	return append(append(bytes.Clone(body), sealHead+checksum(body)...), sealTail...)
}

// Check says whether a sealed object is as it was written. One that was never
// sealed (earlier versions did not) passes.
func Check(data []byte) error {
	if len(data) < sealLen || sealed(data) {
		return nil
	}
	// A seal that was itself damaged, or moved, must not pass for none.
	if like(data[len(data)-sealLen:]) {
		return errChecksum
	}
	var object struct{ Checksum json.RawMessage }
	if err := json.Unmarshal(data, &object); err == nil && object.Checksum != nil {
		return errChecksum
	}
	return nil
}

// sealed says whether an object has a seal, and is as it was written.
func sealed(data []byte) bool {
	if len(data) < sealLen {
		return false
	}
	body, seal := data[:len(data)-sealLen], data[len(data)-sealLen:]
	return string(seal) == sealHead+checksum(body)+sealTail
}

// Sealed says whether an object has a checksum that is right.
func Sealed(data []byte) bool { return sealed(data) }

// like says whether the end of a file is more a seal than anything else.
func like(seal []byte) bool {
	same := 0
	for i := range sealHead {
		if seal[i] == sealHead[i] {
			same++
		}
	}
	return same > len(sealHead)/2
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:sumLen/2])
}
