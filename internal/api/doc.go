// Package api is how anybody talks to the daemon: the JSON types that scripts
// rely on, a server that speaks HTTP on a unix socket, and the client that the
// command line is made of.
//
// It decides nothing and knows no runtime: what it serves comes from a Backend,
// which package daemon implements. What a client may do follows from whom the
// kernel says it is: sandboxes' processes nothing, root everything, and others
// what their groups are granted, or, where nothing is granted to anybody, all if
// they can open the socket, which has mode 0660. A slow or dead client costs its own connection only: streams have write deadlines and
// hold no queue that could grow. All methods may be called from many
// goroutines.
package api
