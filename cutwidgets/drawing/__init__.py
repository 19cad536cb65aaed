"""Blocks and layers as Graphviz diagrams.

The modules write DOT; `rendering` turns it into SVG or PNG.
"""
