"""A page on this machine on which two recordings are compared.

``page`` lays it out, ``server`` serves it; ``figures`` and ``markup`` make what it shows and need
no gradio.
"""
