"""Settings planned from measurements of data and machine, with reasons."""
