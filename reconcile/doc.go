// Package reconcile decides and keeps deciding: Plan is a pure function from
// what is declared, what is observed and what is remembered to the next
// actions; Loop runs it per sandbox, level-triggered.
//
// It never touches the host (no os, no runtime, no gVisor): it sees the world
// through Looker and changes it through Actor, and is told by a Source what is
// declared. Plan has no clock, randomness, log or I/O. Loop runs one worker
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
//
// What was decided where the manifests' page leaves it open:
//
//   - Stopped is reached without an action where nothing ever ran.
//   - Leaving Stopped or Created starts also what had ended under Never or
//     OnFailure; so does a changed spec (labels aside) where nothing runs any
//     more. What runs is left alone but for the containers that were changed.
//   - An end that nobody saw is a failure: OnFailure starts again, Never does
//     not.
//   - A start that follows a change or an end that was asked for is no restart
//     and owes no back-off.
//   - Init containers run again in every new sandbox that was not restored; one
//     that failed under Never leaves nothing to run.
//   - Dependencies hold back the making and restoring of a sandbox, and its first
//     start; what has begun is not held back.
//   - While a sandbox is frozen restarts rest; limits and scores are kept true,
//     and a changed, added or removed container thaws it for a while.
package reconcile
