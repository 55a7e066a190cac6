package sealed

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"

	"github.com/google/renameio/v2"
)

const (
	keyLen = 32
	keySum = 8 // a damaged key must not make everything look forged
)

// Key reads the key that objects are signed with, or makes one, and says whether
// it did: nothing that was signed before can be told from what was forged then. A
// damaged one is set aside.
func Key(path string) (key []byte, made bool, err error) {
	data, err := readPlain(path, keyLen+keySum)
	_, damaged := errors.AsType[*Damage](err)
	switch {
	case err == nil && len(data) == keyLen+keySum && bytes.Equal(keyCheck(data[:keyLen]), data[keyLen:]):
		return data[:keyLen], false, nil
	case err == nil, damaged:
		if err := SetAside(path); err != nil {
			return nil, false, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, err
	}
	key = make([]byte, keyLen)
	_, _ = rand.Read(key) // it never fails
	return key, true, renameio.WriteFile(path, append(bytes.Clone(key), keyCheck(key)...), 0o600)
}

func keyCheck(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:keySum]
}

const (
	signHead = `,"signature":"`
	signLen  = len(signHead) + sumLen + len(sealTail)
)

// Sign returns a JSON object of one member at least, as json.Marshal writes it,
// with a signature: that it was written by who has the key, as what.
func Sign(key []byte, what string, object []byte) []byte {
	body := bytes.TrimSuffix(object, []byte("}"))
	return append(append(bytes.Clone(body), signHead+signature(key, what, body)...), sealTail...)
}

// Signed says whether an object that was signed as that, and then sealed, is so
// signed and sealed.
func Signed(key []byte, what string, data []byte) bool {
	if !sealed(data) || len(data) < sealLen+signLen {
		return false
	}
	data = data[:len(data)-sealLen] // without the bracket that ends the object
	body, sign := data[:len(data)-signLen+1], data[len(data)-signLen+1:]
	return hmac.Equal(sign, []byte(signHead+signature(key, what, body)+sealTail[:1]))
}

func signature(key []byte, what string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(what)) // it never fails
	_, _ = mac.Write([]byte{0})
	_, _ = mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil)[:sumLen/2])
}
