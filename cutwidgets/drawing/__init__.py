"""Blocks and layers as Graphviz diagrams: DOT and SVG."""
