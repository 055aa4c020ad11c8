"""Contents of files: compression, encoding, dialect, header and records, found and said."""
