// Package status turns what the reconciler knows into what users see, and
// holds the latest of it for everyone who asks or watches.
//
// Of and Rejected are pure: no clock, no I/O. Board is the one place that
// holds published statuses; a watcher that can't keep up gets the latest state
// of each sandbox once and never holds up the daemon. All methods may be
// called from many goroutines.
package status
