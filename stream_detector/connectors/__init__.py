"""The outside world: where records come from and messages go."""
