"""The widget.

`panel` holds its state, the `..._view` modules what the page is sent, and `static/` the page.
"""
