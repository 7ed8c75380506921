"""Fast inference on x86: a private copy of the network, in float32 or bf16, made of the parts in this folder."""
