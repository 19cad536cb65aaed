"""Forward passes through a model or a part of it.

Inputs and photographs are prepared here; `backend` holds what differs between Keras's backends.
"""
