"""Delivers webhooks: takes deliveries that are due from the store, sends each, and records how it went.

A light service of its own, so that a receiver that is slow or gone costs neither the front end nor a GPU anything.
"""
