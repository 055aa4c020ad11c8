"""From a YAML file to a checked configuration, with the line of each mistake."""
