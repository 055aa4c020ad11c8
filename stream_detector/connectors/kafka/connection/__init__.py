"""How a broker is reached, and asked before anything runs: settings, probe, causes, rights."""
