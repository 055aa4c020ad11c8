"""The daemon under faults, judged from outside: by its topics, offsets and exit codes alone."""
