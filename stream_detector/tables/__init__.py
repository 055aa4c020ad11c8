"""Tables that remember something of each key, within a bound: columns with a row a key.

What has to do with keys (windows, risks, monitors) is built of these.
"""
