// Package sealed keeps small JSON files so that damage to one shows and costs
// nothing: each ends with a checksum and has a copy beside it, which stands in
// where the file itself can't be believed.
//
// It knows nothing of what is in them. Writers of one file are for the caller
// to order; readers need no order. Damage is what accidents do: whoever may
// write the file can seal what he likes.
package sealed
