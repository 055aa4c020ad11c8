"""Writing: commits as transactions or at least once, labels, and what is refused."""
