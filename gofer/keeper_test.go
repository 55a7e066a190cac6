package gofer

import (
	"os"
	"testing"
)

// A keeper that ends with its container while it is told to stay is nobody's failure.
func TestStayOfOneThatHasEnded(t *testing.T) {
	wait, stay, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	k := Keeper{stay: stay}
	defer k.Close()
	if err := wait.Close(); err != nil {
		t.Fatal(err)
	}
	if err := k.Stay(); err != nil {
		t.Error(err)
	}
}
