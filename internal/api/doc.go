// Package api is how anybody talks to the daemon: the JSON types that scripts
// rely on, a server that speaks HTTP on a unix socket, and the client that the
// command line is made of.
//
// It decides nothing and knows no runtime: what it serves comes from a Backend,
// which package daemon implements. Whoever may open the socket is root on this
// host, so it is created with mode 0660 and nothing else guards it. A slow or
// dead client costs its own connection only: streams have write deadlines and
// hold no queue that could grow. All methods may be called from many
// goroutines.
package api
