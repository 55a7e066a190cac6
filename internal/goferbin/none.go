//go:build !embedgofer

package goferbin

var program []byte
