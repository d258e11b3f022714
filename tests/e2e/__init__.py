"""A package, so that its demo, gallery and browser end with its last test and not with the whole run."""
