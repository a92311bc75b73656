"""What each kind of step does with an image. One module a kind, imported only when a pipeline has such a step.

torch and Pillow are slow to load.
"""
