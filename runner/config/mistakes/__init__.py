"""Where in the user's own option files a mistake is, and what it is in plain words.

``lines`` reads the places of keys from the text of a file, ``places`` finds the file that set a key,
``interpolation`` describes ``${…}`` that cannot be resolved.
"""
