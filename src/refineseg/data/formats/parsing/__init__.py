"""What the readers of formats share: JSON, XML, tables, class names, pictures, shapes and run lengths."""
