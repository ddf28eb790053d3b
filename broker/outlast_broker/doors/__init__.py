"""From a socket to a connection: what it speaks, whether it may come, how fast and with how much outstanding.

Reading order: address, front_door, door; tls, tls_door; lobby, crowd, admission, bucket, debts, descriptors, limits.
"""
