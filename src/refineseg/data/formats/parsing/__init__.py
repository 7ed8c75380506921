"""Shared by the readers: JSON, XML, tables, class names, pictures, shapes and run lengths."""
