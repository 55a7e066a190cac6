// Command probe says what it was started with.
package main

import (
	"fmt"
	"os"

	_ "sandboxer/internal/entry"
)

func main() { fmt.Printf("%q %q\n", os.Args[1:], os.Environ()) }
