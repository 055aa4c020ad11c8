"""How cost, memory and recovery grow: ``make scale``."""
