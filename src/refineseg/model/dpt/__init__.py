"""RefineNet's relatives with a vision transformer as the backbone: DPT, MiDaS 3, Depth Anything, UniMatch V2."""

from refineseg.model.dpt.decoder import DecoderConfig, DPTDecoder, load_dpt_decoder, save_dpt_decoder

__all__ = ["DPTDecoder", "DecoderConfig", "load_dpt_decoder", "save_dpt_decoder"]
