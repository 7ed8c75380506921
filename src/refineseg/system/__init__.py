"""What the operating system and the machine give: files, memory, processes, threads."""
