"""Reads the headers of image files. Each module walks the parts of one format, a bounded number of them, and decodes
nothing: front ends do this for every upload.
"""
