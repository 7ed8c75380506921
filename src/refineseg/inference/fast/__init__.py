"""A private copy of the network for fast inference on x86, in float32 or bf16."""
