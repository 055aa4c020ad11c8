"""Connection to a broker, and questions before anything runs: settings, probe, causes, rights."""
