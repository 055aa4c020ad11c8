"""Reading: the input as a member of the group, ranges of logs, the journal."""
