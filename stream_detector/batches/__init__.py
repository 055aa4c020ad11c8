"""The pipeline of the daemon in stages that hand bytes to one another, batch after batch.

What is known of a key lies with the key's bucket; order, scaler, model, threshold and alerts are of
the whole stream. Every stage is a function of its state and of what it is handed, so that they may
run wherever an engine puts them: the results are the same bytes.
"""
