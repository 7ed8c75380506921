"""Networks with RefineNet's block on a plain vision transformer: DPT, MiDaS 3, Depth Anything, UniMatch V2."""

from refineseg.model.dpt.decoder import DecoderConfig, DPTDecoder, load_dpt_decoder, save_dpt_decoder

__all__ = ["DPTDecoder", "DecoderConfig", "load_dpt_decoder", "save_dpt_decoder"]
