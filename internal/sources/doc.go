// Package sources says what of a manifest a host would not let be carried out:
// bundles, roots and what is in them, volumes, files with values, checkpoints,
// hooks. It only looks. Who calls it says how paths are opened, so that a check
// without a daemon and a daemon's own follow one rule.
//
// It has no state, and may be used by many goroutines.
package sources
