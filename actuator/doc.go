// Package actuator is the container lifecycle: it carries out what package
// reconcile decides, on the host, one idempotent step at a time, and writes
// every record.
//
// It decides nothing by itself: it starts no container that it was not told to
// start and waits for no grace period. It never signals or writes to a process
// by a bare pid. The loop calls Do, for one sandbox from one worker at a time;
// different containers of a sandbox, and different sandboxes, may be worked on
// at the same time.
package actuator
