"""The demo of rotations: a service of four processes under load, its database password and webhook key rotated."""
