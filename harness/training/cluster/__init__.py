"""Training on a Ray cluster: actors on its nodes train, and this process, the driver, alone writes.

`connection` is the cluster that a run trains on, `actors` what runs on a node, `executor` what gives tasks to
actors. Nothing here imports Ray before a run asks for a cluster.
"""
