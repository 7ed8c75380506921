"""Operating system and machine: files, memory, processes, threads."""
