"""What files hold: compression, encoding, dialect, header and records, found and said."""
