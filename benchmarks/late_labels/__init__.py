"""Labels that come late, on streams whose concept changes."""
