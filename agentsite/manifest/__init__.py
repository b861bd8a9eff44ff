"""The agent repository on disk, read into frozen values: no Django, no network.

`loader.load` reads a folder and either returns a `Bundle` or raises a
`ManifestError` that carries every problem at once.
"""
