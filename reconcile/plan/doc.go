// Package plan decides what to do next for one sandbox: Decide is a pure function
// from what is declared, what is observed and what is remembered to actions, each
// with its reason, conditions, and what is remembered from then on.
//
// It has no clock, randomness, log, context or I/O, and knows no runtime: package
// reconcile calls it, again and again, and has what it decides carried out. All of it may be
// called from many goroutines.
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
package plan
