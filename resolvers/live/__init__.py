"""Subscriptions: queries that answer again when their answer changes, and rows that are told as they change.

The outbox says what to look at again (`outbox`), those who watch the same share one look (`groups`), and what is seen
goes out over WebSockets (`sockets`) or as event streams (`streams`).
"""
