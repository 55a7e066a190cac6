// Package checkpoint keeps sandboxes on disk: each is a directory with what a
// runtime wrote of the sandbox's processes, and a description of what they
// need to run again. A directory is made and removed as a whole, also over a
// power cut: whoever sees one sees all of it.
//
// It knows no runtime and writes no file of one: the actuator fills the
// directories. Different sandboxes' may be worked on from many goroutines; the
// work on one sandbox's is for the caller to order.
package checkpoint
