"""A plan from the data: what is measured, what is chosen from it, and why."""
