//go:build embedgofer

package goferbin

import _ "embed"

//go:embed gofer.gz
var program []byte
