// Package reconcile keeps deciding: Loop has package plan decide what to do next
// for each sandbox, level-triggered, and has it done.
//
// It never touches the host (no os, no runtime, no gVisor): it sees the world
// through Looker and changes it through Actor, and is told by a Source what is
// declared. Loop runs one worker
// per sandbox at a time and many sandboxes at once; its methods may be called
// from many goroutines.
//
// One pass is: look, plan, store what is remembered, publish, act. A sandbox's
// first one ends before it stores and acts, so that all are seen before the
// first is worked on. Nothing is assumed to have worked: after every action
// comes another look. Three things
// keep that from running hot, each at its own level: a container's restart
// back-off and a sandbox's creation back-off, which are planned and
// remembered, and the loop's retries, which hold back an action that failed or
// changed nothing.
package reconcile
