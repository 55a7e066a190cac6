// Command client says what it was started with, and that its memory is as its
// file and the language have it: it runs long enough to have garbage collected.
package main

import (
	"fmt"
	"os"
	"runtime"
)

var (
	zero  [1 << 20]byte
	seven = 7
)

func main() {
	sum := 0
	for _, b := range zero {
		sum += int(b)
	}
	done := make(chan []byte)
	for range 100 {
		go func() { done <- make([]byte, 1<<20) }()
	}
	for range 100 {
		<-done
	}
	runtime.GC()
	fmt.Printf("client %q %q %d %d\n", os.Args, os.Environ(), sum, seven)
}
