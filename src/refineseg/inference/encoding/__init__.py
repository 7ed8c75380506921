"""Shared by output kinds: PNG by strips, polygons along pixel edges, JSON made from labels."""
