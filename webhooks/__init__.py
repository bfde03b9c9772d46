"""Delivers webhooks: claims due deliveries from the store, sends each, and records the outcome.

A separate, light process, so that slow or missing receivers take no time of the front end or of a GPU.
"""
