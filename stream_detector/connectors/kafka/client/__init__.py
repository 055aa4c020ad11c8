"""The wall around kafka-python: only here is it imported, and only here are its private names used.

Clients come out of this package as ``Consumer``, ``GroupMember``, ``Producer`` and ``Admin``. They
speak the project's ``TopicPartition``, take a deadline where kafka-python has none, and have its
defects got round (``defects`` is the table of them). They know neither the configuration nor what
the daemon wants: that is policy and stands in the rooms beside this one.
"""
