"""A page on this machine that compares two recordings.

``server`` serves the layout of ``page``. ``figures`` and ``markup`` need no gradio.
"""
