"""What would have made an event ordinary: the fewest changes, each scored again before it is said.

Counterfactuals (Wachter, Mittelstadt and Russell 2018, "Counterfactual explanations without opening
the black box"), found by trying: ``levers`` says what of an event may be otherwise and to what,
``variants`` makes events of it, ``search`` finds the smallest set and the edge, ``claims`` holds
what is to be said to the detector once more, ``wording`` says it.
"""
