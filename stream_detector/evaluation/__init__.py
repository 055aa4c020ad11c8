"""Back-tests: a configuration over a file, and what its figures are."""
