"""Messages as others write them: ECS, OCSF."""
