// Package shelf keeps what a sandbox's containers see of the host: trees of
// mounts, in the mount namespace of the sandbox's sentry.
//
// They are there and not in their gofers' namespaces for three reasons. A tree
// lasts as long as the sentry, which works on it through descriptors whatever
// becomes of gofers: what covers a directory goes with the namespace that the
// cover is mounted in, and the directory shows again through descriptors that
// stay. Every later gofer serves the very same mounts. And the kernel lets a
// process neither rename nor remove what is a mount point in its own namespace:
// what is covered in the sentry's can't be moved away by it.
//
// In the namespace the shelf is a small tmpfs on top of the sentry's root, where
// no path of the sentry's leads. It has a directory for each container instance,
// a tmpfs that is read-only once it is made, and in that the trees "0", "1", …
//
// The package knows neither containers nor who owns what. Its functions may be
// called from many goroutines, but for the same process only one at a time.
package shelf
