"""Values computed from a configuration: fingerprint, schema, reference, fields that are read."""
