"""A page on this machine that compares two recordings. ``server`` serves ``page``, with gradio."""
